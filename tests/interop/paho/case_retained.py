"""Retained messages."""

from paho.mqtt.client import SubscribeOptions

from bench import case, equal, eventually


@case()
def retained_set_replace_clear(b):
    publisher, early = b.client(), b.subscriber("r/t")
    publisher.publish("r/t", "not retained")
    publisher.publish("r/t", "first", retain=True)
    early.expect(("r/t", "not retained", 1, 0), ("r/t", "first", 1, 0), from_=publisher)
    b.subscriber("r/t").expect(("r/t", "first", 1, 1), from_=publisher)
    publisher.publish("r/t", "second", qos=2, retain=True)
    b.subscriber("r/t").expect(("r/t", "second", 2, 1), from_=publisher)
    publisher.publish("r/t", "plain", retain=False)
    b.subscriber("r/t").expect(("r/t", "second", 2, 1), from_=publisher)
    publisher.publish("r/t", "", qos=1, retain=True)
    b.subscriber("r/t").expect(from_=publisher)
    early.expect(("r/t", "second", 2, 0), ("r/t", "plain", 1, 0), ("r/t", "", 1, 0), from_=publisher)


@case()
def retained_of_wildcards(b):
    publisher = b.client()
    topics = ["w/a", "w/a/b", "w/b", "w", "x/a", "w//c"]
    for topic in topics:
        publisher.publish(topic, topic, retain=True)
    matches = {
        "w/#": ["w", "w//c", "w/a", "w/a/b", "w/b"],
        "w/+": ["w/a", "w/b"],
        "+/a": ["w/a", "x/a"],
        "w/+/c": ["w//c"],
        "+": ["w"],
    }
    for topic_filter, expected in matches.items():
        subscriber = b.subscriber(topic_filter)
        subscriber.wait(lambda: len(subscriber.messages) >= len(expected), f"retained messages of {topic_filter}")
        subscriber.fence(publisher)
        found = sorted(message.topic for message in subscriber.messages)
        equal(found, expected, f"retained messages of {topic_filter}")


@case()
def retained_qos_is_the_lower(b):
    publisher = b.client()
    publisher.publish("r", "two", qos=2, retain=True)
    b.subscriber("r", qos=1).expect(("r", "two", 1, 1), from_=publisher)
    b.subscriber("r", qos=0).expect(("r", "two", 0, 1), from_=publisher)


@case()
def retained_again_on_every_subscribe(b):
    publisher = b.client()
    publisher.publish("r", "kept", retain=True)
    subscriber = b.subscriber("r")
    subscriber.expect(("r", "kept", 1, 1), from_=publisher)
    subscriber.subscribe("r")
    subscriber.expect(("r", "kept", 1, 1), from_=publisher)


@case("v5")
def retain_handling(b):
    publisher, kept = b.client(), ("r", "kept", 1, 1)
    publisher.publish("r", "kept", retain=True)
    for handling, first, second in ((0, [kept], [kept]), (1, [kept], []), (2, [], [])):
        subscriber = b.client()
        for expected in (first, second):
            subscriber.subscribe("r", options=SubscribeOptions(2, retainHandling=handling))
            subscriber.expect(*expected, from_=publisher)


@case("v5")
def retain_handling_1_remembers_the_session(b):
    publisher = b.client()
    publisher.publish("r", "kept", retain=True)
    subscriber = b.subscriber("r", name="s", keep=True)
    subscriber.expect(("r", "kept", 1, 1), from_=publisher)
    subscriber.disconnect()
    subscriber = b.client("s", keep=True)
    subscriber.subscribe("r", options=SubscribeOptions(2, retainHandling=1))
    subscriber.expect(from_=publisher)


@case("v5")
def retain_as_published(b):
    publisher, subscriber = b.client(), b.client()
    subscriber.subscribe("r", options=SubscribeOptions(1, retainAsPublished=True))
    publisher.publish("r", "retained", retain=True)
    publisher.publish("r", "plain")
    subscriber.expect(("r", "retained", 1, 1), ("r", "plain", 1, 0), from_=publisher)


@case("v5")
def retained_expires(b):
    publisher = b.client()
    publisher.publish("r/short", "short", retain=True, MessageExpiryInterval=1)
    publisher.publish("r/long", "long", retain=True, MessageExpiryInterval=100)

    def left():
        subscriber = b.subscriber("r/#")
        subscriber.fence(publisher)
        subscriber.disconnect()
        return [message.topic for message in subscriber.messages] == ["r/long"] and subscriber.messages

    message = eventually("end of the retained message that expires", left)[0]
    rest = message.properties.MessageExpiryInterval
    equal(90 <= rest <= 99, True, f"{rest} of 100 s left, at least 1 s gone")
