"""Opening, keeping alive and taking over a connection."""

import time

from bench import case, equal
from tap import PINGREQ, PINGRESP, connect_packet, exchange


@case()
def connect_and_connack(b):
    client = b.client(keep_alive=60)
    equal(client.session_present, False, "session present")
    client.disconnect()


@case("v311", "v5")
def assigned_client_ids(b):
    first, second = b.client(""), b.client("")
    if b.v5:
        names = [client.granted.AssignedClientIdentifier for client in (first, second)]
        equal(len(set(filter(None, names))), 2, f"different names among {names}")
        first.disconnect()
        again = b.client(names[1])
        second.expect_close(0x8E if b.martlet else None)  # mosquitto 2.0 just closes
        equal(again.session_present, False, "session present")


@case("v311")
def empty_client_id_needs_clean_session(b):
    kept = connect_packet("v311", "").replace(b"MQTT\4\2", b"MQTT\4\0")
    equal(exchange(b.port, kept), bytes([0x20, 2, 0, 2]), "CONNACK")


@case()
def takeover(b):
    old = b.subscriber("t", name="same", keep=True)
    new = b.client("same", keep=True)
    old.expect_close(0x8E if b.martlet else None)  # mosquitto 2.0 just closes
    equal(new.session_present, b.version != "v31", "session present")
    other = b.client()
    other.publish("t", "after", qos=1)
    new.expect(("t", "after", 1, 0), from_=other)
    old.expect()


@case()
def idle_client_pings(b):
    tap = b.tap()
    client = b.client(keep_alive=1, tap=tap)
    tap.wait(PINGRESP, up=False, count=2)
    equal(client.closed, None, "end of the connection")


@case()
def two_byte_heartbeat(b):
    tap = b.tap()
    b.client(keep_alive=1, tap=tap)
    equal(tap.wait(PINGREQ, up=True)[0].raw, b"\xc0\0", "PINGREQ")
    equal(tap.wait(PINGRESP, up=False)[0].raw, b"\xd0\0", "PINGRESP")


@case()
def keep_alive_timeout(b):
    watcher = b.subscriber("will")
    tap = b.tap()
    b.client(keep_alive=2, tap=tap, will=("will", "timed out", 1, False))
    tap.hold(up=True)
    start = time.monotonic()
    watcher.expect(("will", "timed out", 1, 0))
    waited = time.monotonic() - start
    # Mosquitto looks every few seconds only.
    if not 1.9 < waited < (4.5 if b.martlet else 10):
        raise AssertionError(f"a keep alive of 2 s ended after {waited:.1f} s")


@case()
def many_clients_at_once(b):
    clients = [b.subscriber("all") for _ in range(40)]
    clients[0].publish("all", "hello")
    for client in clients:
        client.expect(("all", "hello", 1, 0))
