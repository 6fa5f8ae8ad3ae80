"""Sessions that outlive their connection, and those that do not."""

from bench import Bench, Client, case, equal


def present(b):
    """What CONNACK says of a session that was found: 3.1 has no word for it."""
    return b.version != "v31"


@case()
def session_resumed_after_disconnect(b):
    subscriber, publisher = b.subscriber("s", name="s", qos=1, keep=True), b.client()
    subscriber.disconnect()
    for number in range(5):
        publisher.publish("s", str(number), qos=1)
    again = b.client("s", keep=True)
    equal(again.session_present, present(b), "session present")
    again.expect(*[("s", str(number), 1, 0) for number in range(5)], from_=publisher)


@case()
def session_resumed_after_death(b):
    process, publisher = b.process("s", "s"), b.client()
    process.kill()
    process.wait()
    publisher.publish("s", "while dead", qos=1)
    again = b.client("s", keep=True)
    equal(again.session_present, present(b), "session present")
    again.expect(("s", "while dead", 1, 0), from_=publisher)


@case()
def session_resumed_after_cut(b):
    tap, publisher = b.tap(), b.client()
    subscriber = b.subscriber("s", name="s", qos=2, keep=True, tap=tap)
    tap.cut()
    subscriber.expect_close()
    publisher.publish("s", "while away", qos=2)
    subscriber.connect()
    equal(subscriber.session_present, present(b), "session present")
    subscriber.expect(("s", "while away", 2, 0), from_=publisher)


@case()
def session_resumed_from_half_open(b):
    """The network swallows everything; the client comes back before the broker has noticed."""
    tap, publisher = b.tap(), b.client()
    b.subscriber("s", name="s", qos=1, keep=True, tap=tap)
    tap.hold()
    publisher.publish("s", "into the void", qos=1)
    again = b.client("s", keep=True)
    equal(again.session_present, present(b), "session present")
    again.expect(("s", "into the void", 1, 0), from_=publisher)


@case()
def clean_session_keeps_nothing(b):
    kept, publisher = b.subscriber("s", name="s", keep=True), b.client()
    kept.disconnect()
    publisher.publish("s", "lost")
    clean = b.client("s")
    equal(clean.session_present, False, "session present")
    clean.expect(from_=publisher)
    clean.disconnect()
    again = b.client("s", keep=True)
    equal(again.session_present, False, "session present")
    publisher.publish("s", "no subscription is left")
    again.expect(from_=publisher)


@case()
def offline_needs_session_and_qos(b):
    subscriber, publisher = b.client("s", keep=True), b.client()
    subscriber.subscribe("s/0", 0)
    subscriber.subscribe("s/1", 1)
    subscriber.disconnect()
    for topic in ("s/0", "s/1"):
        for qos in (0, 1):
            publisher.publish(topic, f"at {qos}", qos=qos)
    b.client("s", keep=True).expect(("s/1", "at 1", 1, 0), from_=publisher)


@case()
def subscriptions_survive(b):
    subscriber, publisher = b.subscriber("s/+", name="s", qos=1, keep=True), b.client()
    for _ in range(3):
        subscriber.disconnect()
        subscriber = b.client("s", keep=True)
        publisher.publish("s/t", "still subscribed", qos=2)
        subscriber.expect(("s/t", "still subscribed", 1, 0), from_=publisher)


@case("v311", "v5")
def session_resumed_under_another_version(b):
    other = Bench(b.port, "v5" if b.version == "v311" else "v311")
    publisher, subscriber = b.client(), b.subscriber("s", name="s", qos=1, keep=True)
    subscriber.disconnect()
    publisher.publish("s", "kept", qos=1, **({"UserProperty": ("a", "1")} if b.v5 else {}))
    with other.close:
        again = Client(other, "s", keep=True).connect()
        equal(again.session_present, True, "session present")
        again.expect(("s", "kept", 1, 0))


@case("v5")
def session_expires(b):
    subscriber, watcher = b.subscriber("s", name="s", expiry=1), b.client()
    subscriber.disconnect()
    watcher.quiet(2.5)
    equal(b.client("s", keep=True).session_present, False, "session present after its expiry")


@case("v5")
def session_expiry_counts_from_the_close(b):
    subscriber, watcher = b.subscriber("s", name="s", expiry=3), b.client()
    watcher.quiet(1)
    subscriber.disconnect()
    equal(b.client("s", keep=True).session_present, True, "session present")


@case("v5")
def session_expiry_changed_by_disconnect(b):
    b.client("shortened", expiry=60).disconnect(SessionExpiryInterval=0)
    equal(b.client("shortened", keep=True).session_present, False, "session present after 0")
    b.client("lengthened", expiry=1).disconnect(SessionExpiryInterval=60)
    b.client().quiet(2.5)
    equal(b.client("lengthened", keep=True).session_present, True, "session present after 60")


@case("v5")
def session_expiry_not_from_zero(b):
    b.client("s").disconnect(SessionExpiryInterval=60)
    equal(b.client("s", keep=True).session_present, False, "session present")
