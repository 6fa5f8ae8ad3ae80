// What every case needs: MQTT.js clients that remember what they saw, waiting with a bound, and a tap.

import { strict as assert } from 'node:assert'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { createRequire } from 'node:module'

// NODE_PATH names where MQTT.js is; only `require` looks there.
const require = createRequire(import.meta.url)
export const mqtt = require('mqtt')

const PATIENCE_MS = 15_000
const VERSIONS = { v311: 4, v5: 5 }

export const cases = new Map()

// Adds cases: for all versions, or for 5.0 only.
export const both = (found) => add(Object.keys(VERSIONS), found)
export const five = (found) => add(['v5'], found)

function add (versions, found) {
  for (const version of versions) {
    for (const [name, run] of Object.entries(found)) cases.set(`${version}::${name}`, run)
  }
}

// Resolves with what `condition` returned once that is true, looking again after each event of `emitter`.
export async function until (emitter, condition, what) {
  const end = Date.now() + PATIENCE_MS
  for (;;) {
    const found = condition()
    if (found) return found
    const left = end - Date.now()
    if (left <= 0) throw new assert.AssertionError({ message: `no ${what} within ${PATIENCE_MS / 1000} s` })
    const timeout = AbortSignal.timeout(left)
    await once(emitter, 'seen', { signal: timeout }).catch(() => {})
  }
}

// How clients reach the broker: plainly, unless the environment names another transport.
function way () {
  const { MARTLET_TRANSPORT: name, MARTLET_TRANSPORT_PORT: port } = process.env
  if (!name) return {}
  const read = (variable) => readFileSync(process.env[variable])
  const protocol = { tls: 'mqtts', mutual: 'mqtts', ws: 'ws', wss: 'wss' }[name]
  return {
    protocol,
    port: Number(port),
    ...(protocol.startsWith('ws') ? { path: '/mqtt' } : {}),
    ...(name === 'ws' ? {} : { ca: read('MARTLET_CA') }),
    ...(name === 'mutual' ? { cert: read('MARTLET_CERT'), key: read('MARTLET_KEY') } : {})
  }
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

export class Bench {
  constructor (port, version) {
    this.port = port
    this.version = version
    this.v5 = version === 'v5'
    // Mosquitto serves to write these cases against; where Martlet differs, a case says so.
    this.martlet = process.env.MARTLET_INTEROP_BROKER !== 'mosquitto'
    this.clients = []
    this.number = 0
  }

  // A client that is connected. `keep` asks for a session that outlives the connection.
  async client ({ name, keep = false, tap, properties = {}, ...options } = {}) {
    if (this.v5 && keep) properties = { sessionExpiryInterval: 3600, ...properties }
    const client = mqtt.connect({
      host: '127.0.0.1',
      port: (tap ?? this).port,
      protocol: 'mqtt',
      // A tap cuts connections of any kind, but leads to the plain port.
      ...(tap ? {} : way()),
      protocolVersion: VERSIONS[this.version],
      clientId: name ?? `js${++this.number}`,
      clean: !keep,
      reconnectPeriod: 0,
      ...(this.v5 ? { properties } : {}),
      ...options
    })
    this.clients.push(client)
    client.got = []
    client.on('error', (error) => { client.failure = error; client.emit('seen') })
    client.on('connect', (packet) => { client.connack = packet; client.emit('seen') })
    client.on('close', () => { client.gone = true; client.emit('seen') })
    client.on('disconnect', (packet) => { client.reason = packet.reasonCode; client.emit('seen') })
    client.on('message', (topic, payload, packet) => { client.got.push({ ...packet, topic, payload }); client.emit('seen') })
    await until(client, () => client.connack ?? client.failure, 'CONNACK')
    if (client.failure) throw client.failure
    return client
  }

  async subscriber (filter, options = {}) {
    const client = await this.client(options)
    await client.subscribeAsync(filter, { qos: 2 })
    return client
  }

  async tap () {
    const tap = { ends: [], cut () { for (const end of this.ends.splice(0)) end.resetAndDestroy() } }
    const server = net.createServer((client) => {
      const broker = net.connect(this.port, '127.0.0.1')
      tap.ends.push(client, broker)
      for (const end of [client, broker]) end.on('error', () => {})
      client.pipe(broker)
      broker.pipe(client)
      client.on('close', () => broker.destroy())
      broker.on('close', () => client.destroy())
    })
    server.unref()
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    tap.port = server.address().port
    return tap
  }
}

// Waits for messages and takes them away.
export async function take (client, count) {
  await until(client, () => client.got.length >= count, `${count} messages, only ${client.got.length}`)
  return client.got.splice(0, count)
}

// Waits for these messages (topic, payload, QoS, RETAIN), in order. Once what `publisher` published before
// has arrived too, there may be no other.
export async function expect (client, expected, publisher) {
  const found = await take(client, expected.length)
  if (publisher) {
    await client.subscribeAsync('fence', { qos: 1 })
    await publisher.publishAsync('fence', '', { qos: 1 })
    await until(client, () => client.got.some((message) => message.topic === 'fence'), 'message behind the others')
    await client.unsubscribeAsync('fence')
    found.push(...client.got.splice(0).filter((message) => message.topic !== 'fence'))
  }
  assert.deepEqual(found.map((m) => [m.topic, m.payload.toString(), m.qos, m.retain]), expected)
  return found
}

export async function closed (client) {
  await until(client, () => client.gone, 'end of the connection')
}
