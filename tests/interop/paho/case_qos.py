"""Each quality of service in each direction, and what a cut does to it."""

from bench import case, equal
from tap import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL


@case()
def qos_both_directions(b):
    publisher = b.client()
    for granted in range(3):
        subscriber = b.subscriber(f"q/{granted}", qos=granted)
        for published in range(3):
            publisher.publish(f"q/{granted}", f"at {published}", qos=published)
        # Different QoS of one publisher may overtake each other.
        subscriber.wait(lambda: len(subscriber.messages) == 3, "three messages")
        subscriber.fence(publisher)
        expected = [(f"q/{granted}", f"at {qos}", min(qos, granted), 0) for qos in range(3)]
        equal(sorted(subscriber.got()), expected, f"messages to a subscriber at QoS {granted}")


@case()
def own_messages_come_back(b):
    client = b.subscriber("mine")
    client.publish("mine", "hello", qos=1)
    client.expect(("mine", "hello", 1, 0), from_=client)


@case()
def no_subscription_no_message(b):
    subscriber, publisher = b.subscriber("a/b"), b.client()
    for topic in ("a", "a/b/c", "A/b", "a/B", "/a/b", "a/b/"):
        publisher.publish(topic, "not yours")
    publisher.publish("a/b", "yours")
    subscriber.expect(("a/b", "yours", 1, 0), from_=publisher)


@case()
def one_to_many(b):
    subscribers = [b.subscriber("news") for _ in range(5)]
    publisher = b.client()
    publisher.publish("news", "hello", qos=2)
    for subscriber in subscribers:
        subscriber.expect(("news", "hello", 2, 0), from_=publisher)


@case()
def order_is_kept(b):
    publisher = b.client()
    subscribers = [b.subscriber(f"o/{qos}") for qos in range(3)]
    for number in range(500):
        for qos in range(3):
            publisher.send(f"o/{qos}", str(number), qos)
    for qos, subscriber in enumerate(subscribers):
        taken = subscriber.take(500)
        equal([int(message.payload) for message in taken], list(range(500)), f"order at QoS {qos}")


@case()
def packet_identifiers(b):
    tap = b.tap()
    subscriber, publisher = b.subscriber("p", tap=tap), b.client()
    for qos in range(3):
        publisher.publish("p", "x" * qos, qos)
    subscriber.take(3)
    found = {}
    for packet in tap.wait(PUBLISH, up=False, count=3):
        qos = packet.flags >> 1 & 3
        found[qos] = packet.identifier() if qos else len(packet.body)
    equal(found[0], 3 + b.v5, "length of a PUBLISH at QoS 0, which has no identifier")
    equal(0 in (found[1], found[2]), False, f"an identifier among {found} is 0")
    equal(tap.wait(PUBACK, up=True)[0].identifier(), found[1], "identifier of PUBACK")
    equal(tap.wait(PUBREL, up=False)[0].identifier(), found[2], "identifier of PUBREL")


@case()
def unacknowledged_is_sent_again(b):
    tap = b.tap()
    subscriber, publisher = b.subscriber("u", qos=1, keep=True, tap=tap), b.client()
    tap.swallow = lambda packet: packet.kind == PUBACK and packet.up
    for number in range(3):
        publisher.publish("u", str(number), qos=1)
    first = [packet.identifier() for packet in tap.wait(PUBLISH, up=False, count=3)]
    subscriber.take(3)
    tap.cut()
    subscriber.expect_close()
    subscriber.connect()
    taken = subscriber.take(3)
    equal([(message.payload, message.dup) for message in taken], [(b"0", True), (b"1", True), (b"2", True)],
          "payload and DUP of what is sent again")
    equal([packet.identifier() for packet in tap.wait(PUBLISH, up=False, count=3)], first, "identifiers")
    subscriber.expect(from_=publisher)


def _publisher_cut(b, lost):
    """A publisher whose exchange at QoS 2 stops at a lost packet, and goes on after it has reconnected."""
    subscriber, tap = b.subscriber("once"), b.tap()
    publisher = b.client("publisher", keep=True, tap=tap)
    tap.swallow = lambda packet: packet.kind == lost
    mid = publisher.send("once", "payload", qos=2)
    tap.wait(lost, up=lost in (PUBLISH, PUBREL))
    tap.cut()
    publisher.expect_close()
    publisher.connect()
    publisher.wait(lambda: publisher.acks.get(mid), f"end of the exchange after type {lost} was lost")
    subscriber.expect(("once", "payload", 2, 0), from_=publisher)


def _subscriber_cut(b, lost):
    """The same towards a subscriber."""
    tap = b.tap()
    subscriber, publisher = b.subscriber("once", keep=True, tap=tap), b.client()
    tap.swallow = lambda packet: packet.kind == lost
    publisher.publish("once", "payload", qos=2)
    tap.wait(lost, up=lost in (PUBREC, PUBCOMP))
    tap.cut()
    subscriber.expect_close()
    subscriber.connect()
    subscriber.expect(("once", "payload", 2, 0), from_=publisher)


@case()
def qos2_once_across_a_cut(b):
    for lost in (PUBLISH, PUBREC, PUBREL, PUBCOMP):
        _publisher_cut(b, lost)


@case()
def qos2_arrives_once_across_a_cut(b):
    for lost in (PUBLISH, PUBREC, PUBREL, PUBCOMP):
        _subscriber_cut(b, lost)
