"""Wills."""

import time

from bench import case, equal


@case()
def will_after_cut(b):
    watcher, other = b.subscriber("will/one"), b.subscriber("will/other")
    for qos in range(3):
        tap = b.tap()
        b.client(tap=tap, will=("will/one", f"gone {qos}", qos, False))
        tap.cut()
        watcher.expect(("will/one", f"gone {qos}", qos, 0))
    other.expect()


@case()
def will_retained(b):
    watcher, tap = b.subscriber("w"), b.tap()
    b.client(tap=tap, will=("w", "gone", 1, True))
    tap.cut()
    watcher.expect(("w", "gone", 1, 0))
    b.subscriber("w").expect(("w", "gone", 1, 1))


@case()
def will_may_be_empty(b):
    """An empty will with RETAIN clears, and is forwarded."""
    watcher, tap = b.client(), b.tap()
    watcher.publish("w", "online", retain=True)
    watcher.subscribe("w")
    watcher.expect(("w", "online", 1, 1))
    b.client(tap=tap, will=("w", "", 1, True))
    tap.cut()
    watcher.expect(("w", "", 1, 0))
    b.subscriber("w").expect(from_=watcher)


@case()
def will_dropped_by_disconnect(b):
    watcher = b.subscriber("w")
    b.client("leaver", will=("w", "never", 1, False)).disconnect()
    # The broker has seen DISCONNECT once it serves the same name again.
    b.client("leaver")
    watcher.quiet(0.5)


@case()
def will_at_takeover(b):
    """A session that goes on drops a delayed will only; mosquitto drops every one."""
    watcher = b.subscriber("w")
    b.client("same", keep=True, will=("w", "taken over", 1, False))
    b.client("same", keep=True)
    if b.martlet:
        watcher.expect(("w", "taken over", 1, 0))


@case("v5")
def will_with_disconnect_0x04(b):
    watcher = b.subscriber("w")
    b.client(will=("w", "leaving", 1, False)).disconnect(0x04)
    watcher.expect(("w", "leaving", 1, 0))


@case("v5")
def will_delay(b):
    watcher, tap = b.subscriber("w"), b.tap()
    b.client(tap=tap, expiry=60, will=("w", "late", 1, False, {"WillDelayInterval": 2}))
    start = time.monotonic()
    tap.cut()
    watcher.expect(("w", "late", 1, 0))
    # Mosquitto counts in whole seconds of the clock.
    if not (1.9 if b.martlet else 0.9) < time.monotonic() - start < 5:
        raise AssertionError(f"a will delay of 2 s ended after {time.monotonic() - start:.1f} s")


@case("v5")
def will_delay_ends_with_the_session(b):
    """The session expires before the delay is over, and so the will is due."""
    watcher, tap = b.subscriber("w"), b.tap()
    b.client(tap=tap, expiry=1, will=("w", "session over", 1, False, {"WillDelayInterval": 3600}))
    tap.cut()
    watcher.expect(("w", "session over", 1, 0))


@case("v5")
def will_delay_cancelled_by_return(b):
    watcher, tap = b.subscriber("w"), b.tap()
    b.client("same", tap=tap, expiry=60, will=("w", "never", 1, False, {"WillDelayInterval": 1}))
    tap.cut()
    equal(b.client("same", keep=True).session_present, True, "session present")
    watcher.quiet(2.5)


@case("v5")
def will_cancelled_by_disconnect_in_the_delay(b):
    watcher = b.subscriber("w")
    options = {"expiry": 60, "will": ("w", "never", 1, False, {"WillDelayInterval": 1})}
    b.client("same", **options).disconnect()
    watcher.quiet(2.5)


@case("v5")
def will_sent_at_once_by_clean_start(b):
    """Clean Start ends the old session, and its will goes out before anything of the new connection."""
    if not b.martlet:
        return  # mosquitto 2.0 drops it
    watcher, tap = b.subscriber("w"), b.tap()
    b.client("same", tap=tap, expiry=60, will=("w", "offline", 1, False, {"WillDelayInterval": 3600}))
    tap.cut()
    b.client("same").publish("w", "online", qos=1)
    watcher.expect(("w", "offline", 1, 0), ("w", "online", 1, 0))


@case("v5")
def will_properties(b):
    watcher, tap = b.subscriber("w"), b.tap()
    b.client(tap=tap, will=("w", "{}", 1, False, {
        "PayloadFormatIndicator": 1, "MessageExpiryInterval": 100, "ContentType": "application/json",
        "ResponseTopic": "answer", "CorrelationData": b"\0\1", "UserProperty": [("b", "2"), ("a", "1")]}))
    tap.cut()
    found = watcher.take()[0].properties
    equal((found.PayloadFormatIndicator, found.ContentType, found.ResponseTopic, found.CorrelationData),
          (1, "application/json", "answer", b"\0\1"), "properties")
    equal(found.UserProperty, [("b", "2"), ("a", "1")], "user properties")
    equal(found.MessageExpiryInterval in (99, 100), True, "expiry counts from the publication")
