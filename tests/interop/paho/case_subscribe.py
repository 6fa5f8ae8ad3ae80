"""Filters: wildcards, overlap, sharing, and their end."""

from paho.mqtt.client import SubscribeOptions

from bench import case, equal
from tap import connect_packet, exchange

MATCHES = {
    "a/#": ["a", "a/x", "a/y", "a/b/c/d", "a/"],
    "a/+": ["a/x", "a/y", "a/"],
    "+/x": ["a/x", "/x"],
    "#": ["a", "a/x", "a/y", "a/b/c/d", "/x", "a/", "home/sensor/1/temperature"],
    "/+": ["/x"],
    "+": ["a"],
    "+/+": ["a/x", "a/y", "/x", "a/"],
    "home/sensor/+/temperature": ["home/sensor/1/temperature"],
    "home/sensor/#": ["home/sensor/1/temperature"],
    "a/+/c/#": ["a/b/c/d"],
}
TOPICS = ["a", "a/x", "a/y", "a/b/c/d", "/x", "a/", "home/sensor/1/temperature"]


@case()
def wildcards(b):
    publisher = b.client()
    subscribers = {topic_filter: b.subscriber(topic_filter) for topic_filter in MATCHES}
    for topic in TOPICS:
        publisher.publish(topic, topic)
    for topic_filter, subscriber in subscribers.items():
        subscriber.fence(publisher)
        found = {message.topic for message in subscriber.messages}
        equal(found, set(MATCHES[topic_filter]), f"topics that {topic_filter} matches")


@case()
def wildcard_in_a_topic_closes(b):
    for topic in (b"a/+", b"a/#", b"#"):
        body = len(topic).to_bytes(2, "big") + topic + (b"\0" if b.v5 else b"")
        answer = exchange(b.port, connect_packet(b.version, "wild") + bytes([0x30, len(body)]) + body)
        equal(answer[:1], b"\x20", "CONNACK comes first")
        rest = answer[2 + answer[1]:]
        if b.v5:
            code = b"\x81" if b.martlet else b"\x82"
            equal((rest[:1], rest[2:3]), (b"\xe0", code), f"DISCONNECT for topic {topic}, and its code")
        else:
            equal(rest, b"", "nothing but the close")


@case()
def dollar_topics_are_apart(b):
    everything, levels, system = b.subscriber("#", "+/#"), b.subscriber("+/broker/#"), b.subscriber("$SYS/#")
    version = system.wait(lambda: [m for m in system.messages if m.topic == "$SYS/broker/version"], "$SYS/broker/version")
    equal(bool(version[0].retain), True, "RETAIN of $SYS/broker/version")
    publisher = b.client()
    publisher.publish("plain", "plain")
    everything.fence(publisher)
    levels.fence(publisher)
    equal({message.topic for message in everything.messages}, {"plain"}, "topics that # and +/# match")
    levels.expect()


@case()
def dollar_topics_of_clients(b):
    """Only the broker writes to $SYS; other topics with a dollar are free."""
    owner, system, publisher = b.subscriber("$mine/#"), b.subscriber("$SYS/mine"), b.client()
    publisher.publish("$mine/a", "free")
    owner.expect(("$mine/a", "free", 1, 0), from_=publisher)
    code = publisher.publish("$SYS/mine", "forged", qos=1)
    equal(code, 0x87 if b.v5 else 0, "code of the acknowledgement")
    system.expect(from_=publisher)


@case()
def suback_codes(b):
    client = b.client()
    if b.v5:
        filters = [(f"s/{qos}", SubscribeOptions(qos)) for qos in range(3)]
    else:
        filters = [(f"s/{qos}", qos) for qos in range(3)]
    _, mid = client.paho.subscribe(filters)
    codes = client.wait(lambda: client.acks.get(mid), "SUBACK")
    equal([code.value for code in codes], [0, 1, 2], "codes of SUBACK")


@case()
def unsubscribe(b):
    client = b.subscriber("u/a", "u/+")
    equal(client.unsubscribe("u/+"), [0] if b.v5 else [], "codes of UNSUBACK")
    client.publish("u/b", "no more")
    client.publish("u/a", "still")
    client.expect(("u/a", "still", 1, 0), from_=client)
    equal(client.unsubscribe("u/+"), [0x11] if b.v5 else [], "codes of UNSUBACK for what is not there")
    equal(client.unsubscribe("u/a"), [0] if b.v5 else [], "codes of UNSUBACK")
    client.publish("u/a", "no more")
    client.expect(from_=client)


@case()
def overlapping_once(b):
    """One copy at the highest QoS, in 5.0 with all identifiers."""
    subscriber, publisher = b.client(), b.client()
    for number, (topic_filter, qos) in enumerate([("o/#", 0), ("o/+", 2), ("o/t", 1), ("p/#", 2)], 1):
        subscriber.subscribe(topic_filter, qos, **({"SubscriptionIdentifier": number} if b.v5 else {}))
    publisher.publish("o/t", "once", qos=2)
    if not b.martlet:
        return  # mosquitto 2.0 sends one for each in 5.0, and otherwise one at any of the QoS
    subscriber.fence(publisher)
    equal(subscriber.got(), [("o/t", "once", 2, 0)], "messages")
    if b.v5:
        equal(sorted(subscriber.messages[0].properties.SubscriptionIdentifier), [1, 2, 3], "identifiers")


@case("v5")
def subscription_identifiers(b):
    client = b.client()
    client.subscribe("i/a", SubscriptionIdentifier=7)
    client.subscribe("i/b", SubscriptionIdentifier=268435455)
    client.subscribe("i/c")
    for topic, expected in (("i/a", [7]), ("i/b", [268435455]), ("i/c", [])):
        client.publish(topic)
        found = getattr(client.take()[0].properties, "SubscriptionIdentifier", [])
        equal(found, expected, f"identifiers on {topic}")
    client.subscribe("i/a", SubscriptionIdentifier=8)
    client.publish("i/a")
    equal(client.take()[0].properties.SubscriptionIdentifier, [8], "identifier of the newer subscription")


@case("v5")
def no_local(b):
    client, other = b.client(), b.client()
    client.subscribe("n", options=SubscribeOptions(2, noLocal=True))
    client.publish("n", "own")
    other.publish("n", "other's")
    client.expect(("n", "other's", 1, 0), from_=client)


@case()
def shared_each_message_once(b):
    members = [b.subscriber("$share/group/s/#", qos=1) for _ in range(3)]
    outsider, publisher = b.subscriber("s/#"), b.client()
    for number in range(30):
        publisher.publish("s/t", str(number), qos=1)
    outsider.take(30)
    for member in members:
        member.fence(publisher)
    shares = [[int(message.payload) for message in member.messages] for member in members]
    equal(sorted(sum(shares, [])), list(range(30)), "each message once")
    equal([] in shares, False, f"a member without any message in {shares}")
    equal(shares, [sorted(share) for share in shares], "order at each member")


@case()
def shared_groups_are_apart(b):
    one, two, publisher = b.subscriber("$share/one/s"), b.subscriber("$share/two/s"), b.client()
    publisher.publish("s", "to both groups")
    one.expect(("s", "to both groups", 1, 0), from_=publisher)
    two.expect(("s", "to both groups", 1, 0), from_=publisher)


@case()
def shared_goes_on_without_a_member(b):
    stays, leaves, publisher = b.subscriber("$share/g/s"), b.subscriber("$share/g/s"), b.client()
    leaves.disconnect()
    for number in range(10):
        publisher.publish("s", str(number), qos=1)
    # One that was on its way to the member that left comes back, and is then behind others.
    stays.wait(lambda: len(stays.messages) >= 10, "10 messages")
    equal(sorted(stays.got()), [("s", str(number), 1, 0) for number in range(10)], "messages")
    stays.messages.clear()
    stays.expect(from_=publisher)


@case()
def shared_beside_plain(b):
    both, publisher = b.subscriber("$share/g/s", "s"), b.client()
    publisher.publish("s", "twice")
    copies = 2 if b.martlet or b.v5 else 1  # mosquitto 2.0 takes them for duplicates
    both.expect(*[("s", "twice", 1, 0)] * copies, from_=publisher)


@case()
def shared_gets_nothing_retained(b):
    publisher = b.client()
    publisher.publish("s", "retained", retain=True)
    if b.martlet:  # mosquitto 2.0 sends it
        b.subscriber("$share/g/s").expect(from_=publisher)


@case("v5")
def shared_with_no_local_is_an_error(b):
    if not b.martlet:
        return  # mosquitto 2.0 allows it
    client = b.client()
    client.paho.subscribe("$share/g/s", options=SubscribeOptions(1, noLocal=True))
    client.expect_close(0x82)
