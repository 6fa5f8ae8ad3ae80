// MQTT.js as a client of ours.

import { strict as assert } from 'node:assert'
import { both, closed, expect, five, pause, take, until } from './bench.mjs'

both({
  async qos_both_directions (b) {
    const publisher = await b.client()
    for (const granted of [0, 1, 2]) {
      for (const qos of [0, 1, 2]) {
        const subscriber = await b.client()
        const [{ qos: answer }] = await subscriber.subscribeAsync('q', { qos: granted })
        assert.equal(answer, granted)
        await publisher.publishAsync('q', 'payload', { qos })
        await expect(subscriber, [['q', 'payload', Math.min(qos, granted), false]], publisher)
      }
    }
  },

  async order_is_kept (b) {
    const [subscriber, publisher] = [await b.subscriber('o'), await b.client()]
    for (const qos of [0, 1, 2]) {
      const sent = Array.from({ length: 200 }, (_, number) => String(number))
      await Promise.all(sent.map((number) => publisher.publishAsync('o', number, { qos })))
      assert.deepEqual((await take(subscriber, 200)).map((message) => message.payload.toString()), sent)
    }
  },

  async retained_set_replace_clear (b) {
    const publisher = await b.client()
    const retain = async (payload, found) => {
      await publisher.publishAsync('r/t', payload, { qos: 1, retain: true })
      for (const filter of ['r/t', 'r/+', '#']) await expect(await b.subscriber(filter), found, publisher)
    }
    await retain('first', [['r/t', 'first', 1, true]])
    await retain('second', [['r/t', 'second', 1, true]])
    await retain('', [])
  },

  async wildcards (b) {
    const publisher = await b.client()
    const [hash, plus, level] = [await b.subscriber('a/#'), await b.subscriber('a/+'), await b.subscriber('+/+/c')]
    for (const topic of ['a', 'a/b', 'a/b/c', 'b/a']) await publisher.publishAsync(topic, '', { qos: 1 })
    await expect(hash, ['a', 'a/b', 'a/b/c'].map((topic) => [topic, '', 1, false]), publisher)
    await expect(plus, [['a/b', '', 1, false]], publisher)
    await expect(level, [['a/b/c', '', 1, false]], publisher)
  },

  async will_after_cut (b) {
    const [watcher, tap] = [await b.subscriber('w'), await b.tap()]
    await b.client({ tap, will: { topic: 'w', payload: Buffer.from('gone'), qos: 1, retain: false } })
    tap.cut()
    await expect(watcher, [['w', 'gone', 1, false]])
  },

  async will_dropped_by_disconnect (b) {
    const watcher = await b.subscriber('w')
    const leaver = await b.client({ name: 'same', will: { topic: 'w', payload: Buffer.from('never'), qos: 1 } })
    await leaver.endAsync()
    await b.client({ name: 'same' })
    await pause(500)
    await expect(watcher, [], watcher)
  },

  async session_resumed_after_cut (b) {
    const [publisher, tap] = [await b.client(), await b.tap()]
    const subscriber = await b.subscriber('s', { name: 'same', keep: true, tap })
    tap.cut()
    await closed(subscriber)
    for (const qos of [1, 2]) await publisher.publishAsync('s', 'while away', { qos })
    const again = await b.client({ name: 'same', keep: true })
    assert.equal(again.connack.sessionPresent, true)
    await expect(again, [['s', 'while away', 1, false], ['s', 'while away', 2, false]], publisher)
  },

  async clean_session_keeps_nothing (b) {
    await (await b.subscriber('s', { name: 'same', keep: true })).endAsync()
    assert.equal((await b.client({ name: 'same' })).connack.sessionPresent, false)
  },

  async publisher_resumes_after_cut (b) {
    const [subscriber, tap] = [await b.subscriber('p'), await b.tap()]
    const publisher = await b.client({ name: 'same', keep: true, tap, reconnectPeriod: 50 })
    const sent = Array.from({ length: 100 }, (_, number) => String(number))
    const done = Promise.all(sent.map((number) => publisher.publishAsync('p', number, { qos: 2 })))
    await take(subscriber, 10).then((taken) => subscriber.got.unshift(...taken))
    tap.cut()
    await done
    const found = await take(subscriber, 100)
    assert.deepEqual(found.map((message) => message.payload.toString()), sent, 'each once and in order')
    await expect(subscriber, [], publisher)
  },

  async takeover (b) {
    const old = await b.client({ name: 'same' })
    await b.client({ name: 'same' })
    await closed(old)
    if (b.v5 && b.martlet) assert.equal(old.reason, 0x8e) // mosquitto 2.0 just closes
  },

  async shared_each_message_once (b) {
    const members = [await b.subscriber('$share/g/s'), await b.subscriber('$share/g/s')]
    const publisher = await b.client()
    for (let number = 0; number < 20; number++) await publisher.publishAsync('s', String(number), { qos: 1 })
    const shares = []
    for (const member of members) {
      await until(member, () => member.got.length > 0, 'message of its share')
      await member.subscribeAsync('fence', { qos: 1 })
    }
    await publisher.publishAsync('fence', '', { qos: 1 })
    for (const member of members) {
      await until(member, () => member.got.some((message) => message.topic === 'fence'), 'message behind the others')
      shares.push(...member.got.filter((message) => message.topic === 's').map((message) => Number(message.payload)))
    }
    assert.deepEqual(shares.sort((a, b) => a - b), Array.from({ length: 20 }, (_, number) => number))
  },

  async payload_sizes (b) {
    const [subscriber, publisher] = [await b.subscriber('size'), await b.client()]
    for (const size of [0, 1, 127, 128, 16_383, 16_384, 1 << 20, 1_990_000]) {
      const payload = Buffer.alloc(size, 'martlet')
      await publisher.publishAsync('size', payload, { qos: 1 })
      const [message] = await take(subscriber, 1)
      assert.equal(Buffer.compare(message.payload, payload), 0, `the ${size} bytes are the same`)
    }
  },

  async topics_in_chinese_and_with_spaces (b) {
    const publisher = await b.client()
    for (const topic of ['温度/传感器', 'with spaces/in levels', ' ', '/', 'emoji/🐦']) {
      const subscriber = await b.subscriber(topic)
      await publisher.publishAsync(topic, topic, { qos: 2 })
      await expect(subscriber, [[topic, topic, 2, false]], publisher)
    }
  },

  async idle_client_pings (b) {
    const client = await b.client({ keepalive: 1 })
    let answers = 0
    client.on('packetreceive', (packet) => { if (packet.cmd === 'pingresp') { answers++; client.emit('seen') } })
    await until(client, () => answers >= 2, 'two PINGRESP')
    assert.equal(client.connected, true)
  },

  async unsubscribe (b) {
    const client = await b.subscriber('u')
    await client.unsubscribeAsync('u')
    await client.publishAsync('u', 'no more', { qos: 1 })
    await expect(client, [], client)
  }
})

five({
  async assigned_client_id (b) {
    const client = await b.client({ name: '' })
    assert.ok(client.connack.properties.assignedClientIdentifier.length > 0)
  },

  async will_delay (b) {
    const [watcher, tap] = [await b.subscriber('w'), await b.tap()]
    const will = { topic: 'w', payload: Buffer.from('late'), qos: 1, properties: { willDelayInterval: 1 } }
    await b.client({ tap, will, properties: { sessionExpiryInterval: 60 } })
    const start = Date.now()
    tap.cut()
    await expect(watcher, [['w', 'late', 1, false]])
    // Mosquitto counts in whole seconds of the clock.
    if (b.martlet) assert.ok(Date.now() - start > 900, 'a delay of 1 s')
  },

  async session_expires (b) {
    await (await b.client({ name: 'same', properties: { sessionExpiryInterval: 1 } })).endAsync()
    await pause(2_500)
    assert.equal((await b.client({ name: 'same', keep: true })).connack.sessionPresent, false)
  },

  async message_expiry_counts_down (b) {
    const publisher = await b.client()
    await (await b.subscriber('e', { name: 'same', keep: true })).endAsync()
    await publisher.publishAsync('e', 'short', { qos: 1, properties: { messageExpiryInterval: 1 } })
    await publisher.publishAsync('e', 'long', { qos: 1, properties: { messageExpiryInterval: 100 } })
    await pause(2_200)
    const again = await b.client({ name: 'same', keep: true })
    const [message] = await expect(again, [['e', 'long', 1, false]], publisher)
    const left = message.properties.messageExpiryInterval
    assert.ok(left >= 95 && left <= 98, `${left} of 100 s left after 2 s`)
  },

  async receive_maximum (b) {
    const publisher = await b.client()
    const slow = []
    const subscriber = await b.client({
      properties: { receiveMaximum: 2 },
      customHandleAcks: (topic, payload, packet, done) => { slow.push(() => done(null, 0)); subscriber.emit('seen') }
    })
    await subscriber.subscribeAsync('f', { qos: 1 })
    for (const number of [0, 1, 2, 3, 4]) await publisher.publishAsync('f', String(number), { qos: 1 })
    for (let acknowledged = 0; acknowledged < 5; acknowledged++) {
      await until(subscriber, () => slow.length > acknowledged, `message ${acknowledged}`)
      assert.ok(slow.length <= acknowledged + 2, `${slow.length} messages, ${acknowledged} acknowledged`)
      slow[acknowledged]()
    }
  },

  async topic_aliases_of_the_client (b) {
    const subscriber = await b.subscriber('alias/#')
    const publisher = await b.client({ autoAssignTopicAlias: true })
    assert.ok(publisher.connack.properties.topicAliasMaximum > 0)
    for (const number of [0, 1, 2]) await publisher.publishAsync('alias/topic', String(number), { qos: 1 })
    await expect(subscriber, [0, 1, 2].map((number) => ['alias/topic', String(number), 1, false]), publisher)
  },

  async topic_aliases_of_the_broker (b) {
    const [subscriber, publisher] = [await b.client({ properties: { topicAliasMaximum: 2 } }), await b.client()]
    await subscriber.subscribeAsync('alias/#', { qos: 1 })
    const topics = ['alias/one', 'alias/two', 'alias/one', 'alias/three', 'alias/two', 'alias/three', 'alias/one']
    for (const topic of topics) await publisher.publishAsync(topic, '', { qos: 1 })
    await expect(subscriber, topics.map((topic) => [topic, '', 1, false]), publisher)
  },

  async overlapping_once (b) {
    if (!b.martlet) return // mosquitto 2.0 sends one copy for each
    const [subscriber, publisher] = [await b.client(), await b.client()]
    await subscriber.subscribeAsync('o/#', { qos: 0, properties: { subscriptionIdentifier: 1 } })
    await subscriber.subscribeAsync('o/+', { qos: 2, properties: { subscriptionIdentifier: 2 } })
    await publisher.publishAsync('o/t', 'once', { qos: 2 })
    const [message] = await expect(subscriber, [['o/t', 'once', 2, false]], publisher)
    assert.deepEqual([...message.properties.subscriptionIdentifier].sort(), [1, 2])
  },

  async user_properties (b) {
    const [subscriber, publisher] = [await b.subscriber('u'), await b.client()]
    const userProperties = { z: ['1', '2'], a: '3', 名: '值' }
    await publisher.publishAsync('u', '', { qos: 1, properties: { userProperties } })
    const [message] = await take(subscriber, 1)
    assert.deepEqual({ ...message.properties.userProperties }, userProperties)
    assert.deepEqual(Object.keys(message.properties.userProperties), ['z', 'a', '名'], 'order')
  },

  async request_response (b) {
    const [server, client] = [await b.subscriber('request'), await b.subscriber('answer')]
    const correlationData = Buffer.from([0, 255])
    await client.publishAsync('request', '6 * 7', { qos: 1, properties: { responseTopic: 'answer', correlationData } })
    const [request] = await take(server, 1)
    await server.publishAsync(request.properties.responseTopic, '42', {
      qos: 1, properties: { correlationData: request.properties.correlationData }
    })
    const [answer] = await take(client, 1)
    assert.equal(answer.payload.toString(), '42')
    assert.equal(Buffer.compare(answer.properties.correlationData, correlationData), 0)
  }
})
