// MQTT.js in a browser, over the WebSocket that ?url= names; what came of it goes to /report.

/* global mqtt */

const url = new URL(location.href).searchParams.get('url')

function check (holds, what) {
  if (!holds) throw new Error(what)
}

function same (found, expected, what) {
  check(JSON.stringify(found) === JSON.stringify(expected), `${what}: ${JSON.stringify(found)} instead of ${JSON.stringify(expected)}`)
}

async function client (version, more = {}) {
  const one = await mqtt.connectAsync(url, { protocolVersion: version, reconnectPeriod: 0, connectTimeout: 20_000, ...more })
  one.inbox = []
  one.on('message', (topic, payload, packet) => {
    one.inbox.push({ topic, payload, qos: packet.qos, retain: packet.retain })
    one.wake?.()
  })
  return one
}

async function take (one, count) {
  while (one.inbox.length < count) await new Promise((resolve) => { one.wake = resolve })
  return one.inbox.splice(0, count)
}

const cases = {
  async qos_both_directions (version) {
    const [publisher, subscriber] = [await client(version), await client(version)]
    for (const granted of [0, 1, 2]) {
      const [{ qos: answer }] = await subscriber.subscribeAsync('browser/q', { qos: granted })
      same(answer, granted, 'granted')
      for (const qos of [0, 1, 2]) {
        await publisher.publishAsync('browser/q', `qos ${qos}`, { qos })
        const [message] = await take(subscriber, 1)
        same([message.qos, message.payload.toString()], [Math.min(qos, granted), `qos ${qos}`], 'message')
      }
    }
    await Promise.all([publisher.endAsync(), subscriber.endAsync()])
  },

  // Around the lengths at which frames of WebSocket and packets of MQTT change their form.
  async payload_sizes (version) {
    const one = await client(version)
    await one.subscribeAsync('browser/s', { qos: 1 })
    for (const size of [0, 1, 100, 110, 125, 126, 127, 128, 16_383, 16_384, 65_535, 65_536, 300_000]) {
      const payload = new Uint8Array(size).map((_, at) => at % 251)
      await one.publishAsync('browser/s', payload, { qos: 1 })
      const [message] = await take(one, 1)
      check(message.payload.length === size && message.payload.every((byte, at) => byte === at % 251), `${size} bytes`)
    }
    await one.endAsync()
  },

  async order_is_kept (version) {
    const [publisher, subscriber] = [await client(version), await client(version)]
    await subscriber.subscribeAsync('browser/茶 order', { qos: 2 })
    for (const qos of [0, 1, 2]) {
      const sent = Array.from({ length: 300 }, (_, number) => String(number))
      await Promise.all(sent.map((number) => publisher.publishAsync('browser/茶 order', number, { qos })))
      same((await take(subscriber, 300)).map((message) => message.payload.toString()), sent, `order at QoS ${qos}`)
    }
    await Promise.all([publisher.endAsync(), subscriber.endAsync()])
  },

  async retained_and_resumed (version) {
    const kept = version === 5 ? { clean: false, properties: { sessionExpiryInterval: 60 } } : { clean: false }
    const publisher = await client(version)
    await publisher.publishAsync('browser/r', 'kept', { qos: 1, retain: true })
    const first = await client(version, { clientId: `page-${version}`, ...kept })
    await first.subscribeAsync('browser/r', { qos: 1 })
    same((await take(first, 1)).map(({ payload, retain }) => [payload.toString(), retain]), [['kept', true]], 'retained')
    await first.endAsync()
    await publisher.publishAsync('browser/r', 'while away', { qos: 1 })
    const again = await client(version, { clientId: `page-${version}`, ...kept })
    same((await take(again, 1)).map(({ payload }) => payload.toString()), ['while away'], 'queued')
    await publisher.publishAsync('browser/r', '', { qos: 1, retain: true })
    await Promise.all([publisher.endAsync(), again.endAsync()])
  }
}

let report = 'ok'
try {
  for (const version of [4, 5]) {
    for (const [name, run] of Object.entries(cases)) {
      await run(version).catch((error) => { throw new Error(`${name}, version ${version}: ${error.stack}`) })
    }
  }
} catch (error) {
  report = error.message
}
await fetch('/report', { method: 'POST', body: report })
