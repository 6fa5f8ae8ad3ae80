"""Flow control, aliases, expiry and sizes: what 5.0 lets both ends agree on."""

from bench import case, equal
from tap import PUBLISH, connect_packet, exchange, split


@case("v5")
def receive_maximum_of_the_client(b):
    subscriber = b.subscriber("f", qos=1, manual_ack=True, ReceiveMaximum=2)
    publisher = b.client()
    for number in range(6):
        publisher.publish("f", str(number), qos=1)
    publisher.publish("f", "QoS 0 does not wait", qos=0)
    arrived = subscriber.take(3)
    equal(sorted(message.qos for message in arrived), [0, 1, 1], "QoS of what arrives unacknowledged")
    subscriber.quiet(0.3)
    held = [message for message in arrived if message.qos == 1]
    for number in range(6):
        message = held.pop(0)
        equal(message.payload, str(number).encode(), "payload")
        subscriber.paho.ack(message.mid, message.qos)
        if number < 4:
            held += subscriber.take()


@case("v5")
def receive_maximum_of_the_broker(b):
    """One PUBLISH too many: DISCONNECT 0x93."""
    if not b.martlet:
        return  # mosquitto does not enforce it
    granted = getattr(b.client().granted, "ReceiveMaximum", 65535)
    publishes = b"".join(b"\x34\6\0\1f" + mid.to_bytes(2, "big") + b"\0" for mid in range(1, granted + 2))
    answer = exchange(b.port, connect_packet("v5", "pusher") + publishes)
    last = None
    while answer:
        kind, _, body, length = split(answer)
        last, answer = (kind, body[:1]), answer[length:]
    equal(last, (14, b"\x93"), "the last packet: its type and code")


@case("v5")
def topic_aliases_of_the_client(b):
    maximum = getattr(b.client().granted, "TopicAliasMaximum", 0)
    equal(maximum > 1, True, f"aliases may be used, up to {maximum}")
    subscriber, publisher = b.subscriber("alias/#"), b.client()
    publisher.publish("alias/one", "defines", TopicAlias=1)
    publisher.publish("alias/two", "defines", TopicAlias=maximum)
    publisher.publish("", "uses", TopicAlias=1)
    publisher.publish("", "uses", TopicAlias=maximum)
    publisher.publish("alias/three", "redefines", TopicAlias=1)
    publisher.publish("", "uses", TopicAlias=1)
    subscriber.expect(("alias/one", "defines", 1, 0), ("alias/two", "defines", 1, 0), ("alias/one", "uses", 1, 0),
                      ("alias/two", "uses", 1, 0), ("alias/three", "redefines", 1, 0),
                      ("alias/three", "uses", 1, 0), from_=publisher)


@case("v5")
def topic_alias_errors(b):
    maximum = b.client().granted.TopicAliasMaximum
    # Too large, and never defined; mosquitto 2.0 has other codes.
    for topic, alias, code in (("t", maximum + 1, 0x94), ("", 1, 0x82)):
        client = b.client()
        client.send(topic, "x", TopicAlias=alias)
        client.expect_close(code if b.martlet else None)


@case("v5")
def topic_aliases_of_the_broker(b):
    """Paho resolves no aliases, so the tap reads them off the wire."""
    tap, topic = b.tap(), "a/topic/long/enough/to/be/worth/an/alias"
    subscriber, publisher = b.subscriber(topic, tap=tap, TopicAliasMaximum=5), b.client()
    for number in range(4):
        publisher.publish(topic, str(number), qos=1)
    subscriber.take(4)
    packets = tap.wait(PUBLISH, up=False, count=4)
    names = [packet.body[2:2 + int.from_bytes(packet.body[:2], "big")].decode() for packet in packets]
    equal(names[0], topic, "the first names the topic")
    if b.martlet:
        equal(names[1:], [""] * 3, "those that follow use the alias")


@case("v5")
def message_expiry_counts_down(b):
    subscriber, publisher = b.subscriber("e", name="s", keep=True), b.client()
    subscriber.disconnect()
    publisher.publish("e", "short", MessageExpiryInterval=1)
    publisher.publish("e", "long", MessageExpiryInterval=100)
    publisher.publish("e", "ever")
    publisher.quiet(2.2)
    again = b.client("s", keep=True)
    long, ever = again.take(2)
    equal((long.payload, ever.payload), (b"long", b"ever"), "what has not expired")
    rest = long.properties.MessageExpiryInterval
    equal(95 <= rest <= 98, True, f"{rest} of 100 s left after 2 s")
    equal(hasattr(ever.properties, "MessageExpiryInterval"), False, "expiry of what has none")


@case("v5")
def message_expiry_unchanged_when_at_once(b):
    subscriber, publisher = b.subscriber("e"), b.client()
    publisher.publish("e", "now", MessageExpiryInterval=4294967295)
    equal(subscriber.take()[0].properties.MessageExpiryInterval >= 4294967294, True, "expiry")


@case("v5")
def too_large_for_the_subscriber(b):
    small, all_, publisher = b.subscriber("z", MaximumPacketSize=100), b.subscriber("z"), b.client()
    publisher.publish("z", "x" * 90)
    publisher.publish("z", "x" * 200)
    publisher.publish("z", "after")
    small.expect(("z", "x" * 90, 1, 0), ("z", "after", 1, 0), from_=publisher)
    all_.take(3)
