"""Payloads and topics at their limits."""

from bench import case, equal
from tap import PUBLISH, connect_packet, exchange, length

TOPICS = ["温度/传感器", "家/客厅/灯 一", "with spaces/in every level", " ", "/", "//", "Case", "case",
          "emoji/🐦", "e\u0301/é", "\ufeffmark", "x" * 1000]


@case()
def payload_sizes(b):
    subscriber, publisher = b.subscriber("size"), b.client()
    for size in (0, 1, 127, 128, 16_383, 16_384, 65_536, 1 << 20):
        payload = (bytes(range(256)) * (size // 256 + 1))[:size]
        for qos in range(3):
            publisher.publish("size", payload, qos=qos)
            message = subscriber.take()[0]
            equal(len(message.payload), size, "size of the payload")
            equal(message.payload == payload, True, f"the {size} bytes are the same")


@case()
def largest_packet(b):
    """The default limit is 2,000,000 bytes for the whole packet."""
    limit, topic = 2_000_000, "largest"
    head = 1 + 3 + 2 + len(topic) + 2 + b.v5
    tap = b.tap()
    subscriber, publisher = b.subscriber(topic), b.client(tap=tap)
    if b.v5:
        equal(publisher.granted.MaximumPacketSize, limit, "Maximum Packet Size in CONNACK")
    publisher.publish(topic, bytes(limit - head), qos=1)
    equal(len(subscriber.take()[0].payload), limit - head, "size of the largest payload")
    equal(len(tap.wait(PUBLISH, up=True)[0].raw), limit, "size of its packet")
    over = 1 if b.martlet else limit  # mosquitto counts a little less
    publisher.send(topic, bytes(limit - head + over), qos=1)
    publisher.expect_close()  # perhaps in the middle of sending, and so before the client reads why
    if b.v5 and b.martlet:
        answer = exchange(b.port, connect_packet("v5", "large") + b"\x30" + length(limit - 3))
        equal(answer[2 + answer[1]:][::2][:2], b"\xe0\x95", "DISCONNECT for a packet one byte too long, and its code")
    equal(subscriber.closed, None, "end of the subscriber's connection")


@case()
def topics_in_chinese_and_with_spaces(b):
    publisher, everything = b.client(), b.subscriber("#")
    subscribers = [b.subscriber(topic) for topic in TOPICS]
    for topic in TOPICS:
        publisher.publish(topic, topic[:20], qos=1)
    for topic, subscriber in zip(TOPICS, subscribers):
        subscriber.expect((topic, topic[:20], 1, 0), from_=publisher)
    equal([message.topic for message in everything.take(len(TOPICS))], TOPICS, "topics")
