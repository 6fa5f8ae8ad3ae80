"""What every case needs: paho clients that remember what they saw, and waiting with a bound."""

import contextlib
import itertools
import os
import subprocess
import sys
import threading
import time

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tap import Tap

PROTOCOLS = {"v31": paho.MQTTv31, "v311": paho.MQTTv311, "v5": paho.MQTTv5}
PATIENCE_S = 15
NEVER_S = 3600

CASES = {}


def case(*versions):
    """Marks a function as a case, for all versions unless some are named."""

    def add(function):
        for version in versions or PROTOCOLS:
            CASES[version, function.__name__] = function
        return function

    return add


def equal(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: found {found!r}, expected {expected!r}")


def properties(packet, values):
    """The properties of a packet of 5.0, by paho's names."""
    if not values:
        return None
    made = Properties(packet)
    for name, value in values.items():
        setattr(made, name, value)
    return made


class Way:
    """How clients reach the broker: plainly, unless the environment names another transport."""

    def __init__(self):
        self.name = os.environ.get("MARTLET_TRANSPORT", "")
        self.port = int(os.environ.get("MARTLET_TRANSPORT_PORT", "0"))

    @property
    def transport(self):
        return {"ws": "websockets", "wss": "websockets", "unix": "unix"}.get(self.name, "tcp")

    def prepare(self, client):
        if self.transport == "websockets":
            client.ws_set_options(path="/mqtt")
        if self.name in ("tls", "wss"):
            client.tls_set(os.environ["MARTLET_CA"])
        if self.name == "mutual":
            client.tls_set(os.environ["MARTLET_CA"], os.environ["MARTLET_CERT"], os.environ["MARTLET_KEY"])

    @property
    def place(self):
        return (os.environ["MARTLET_SOCKET"], 1) if self.name == "unix" else ("127.0.0.1", self.port)


WAY = Way()


class Bench:
    """One broker, one version, and the clients of one case."""

    def __init__(self, port, version):
        self.port, self.version, self.v5 = port, version, version == "v5"
        # Mosquitto serves to write these cases against; where Martlet differs, a case says so.
        self.martlet = os.environ.get("MARTLET_INTEROP_BROKER") != "mosquitto"
        self.close = contextlib.ExitStack()
        self.numbers = itertools.count(1)

    def client(self, name=None, **options):
        """A client that is connected."""
        client = Client(self, f"c{next(self.numbers)}" if name is None else name, **options)
        client.connect()
        return client

    def subscriber(self, *filters, name=None, qos=2, **options):
        """A client that is connected and subscribed."""
        client = self.client(name, **options)
        for topic_filter in filters:
            client.subscribe(topic_filter, qos)
        return client

    def tap(self):
        return self.close.enter_context(Tap(self.port))

    def process(self, name, topic_filter):
        """A client in a process of its own, connected with a kept session and subscribed at QoS 1."""
        command = [sys.executable, sys.argv[0], str(self.port), self.version, "--hold", name, topic_filter]
        process = self.close.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        self.close.callback(process.kill)
        equal(process.stdout.readline(), "ready\n", "the client in its own process")
        return process


class Client:
    """A paho client. It never reconnects by itself; `keep` asks for a session that outlives the connection."""

    def __init__(self, bench, name, keep=False, expiry=None, keep_alive=60, will=None, tap=None,
                 manual_ack=False, **connect):
        self.bench, self.name, self.keep = bench, name, keep
        self.port, self.keep_alive = (tap or bench).port, keep_alive
        if keep and expiry is None:
            expiry = NEVER_S
        if bench.v5 and expiry is not None:
            connect["SessionExpiryInterval"] = expiry
        self.options = connect
        self.changed = threading.Condition()
        self.messages, self.fences = [], set()
        self.connack = self.closed = None
        self.acks = {}
        # A tap understands plain MQTT only.
        self.way = WAY if WAY.name and not tap else None
        self.paho = paho.Client(
            CallbackAPIVersion.VERSION2, name, protocol=PROTOCOLS[bench.version],
            transport=self.way.transport if self.way else "tcp",
            clean_session=None if bench.v5 else not keep, reconnect_on_failure=False, manual_ack=manual_ack)
        if self.way:
            self.way.prepare(self.paho)
        if will:
            topic, payload, qos, retain, *more = will
            self.paho.will_set(topic, payload, qos, retain,
                               properties(PacketTypes.WILLMESSAGE, more[0] if more else None))
        self.paho.on_connect = lambda _c, _u, flags, code, props: self._note(connack=(code, flags, props))
        # Paho reports the close behind a DISCONNECT too: the first report is the one that knows why.
        self.paho.on_disconnect = lambda _c, _u, flags, code, props: self._note(closed=self.closed or (code, flags))
        self.paho.on_message = lambda _c, _u, message: self._message(message)
        self.paho.on_subscribe = lambda _c, _u, mid, codes, props: self._ack(mid, codes)
        self.paho.on_unsubscribe = lambda _c, _u, mid, codes, props: self._ack(mid, codes)
        self.paho.on_publish = lambda _c, _u, mid, code, props: self._ack(mid, code)
        bench.close.callback(self._stop)

    def _note(self, **what):
        with self.changed:
            self.__dict__.update(what)
            self.changed.notify_all()

    def _ack(self, mid, codes):
        with self.changed:
            self.acks[mid] = codes
            self.changed.notify_all()

    def _message(self, message):
        with self.changed:
            if message.topic.startswith("fence/"):
                self.fences.add(message.topic)
            else:
                self.messages.append(message)
            self.changed.notify_all()

    def _stop(self):
        self.paho.disconnect()
        self.paho.loop_stop()

    def wait(self, condition, what, seconds=PATIENCE_S):
        """Waits until `condition()` holds and returns what it returned."""
        with self.changed:
            if not self.changed.wait_for(condition, seconds):
                raise AssertionError(f"{self.name}: no {what} within {seconds} s; "
                                     f"connack {self.connack}, closed {self.closed}, got {self.got()}")
            return condition()

    def connect(self):
        """Connects anew and expects success."""
        self.connack = self.closed = None
        more = {}
        if self.bench.v5:
            more = {"clean_start": not self.keep, "properties": properties(PacketTypes.CONNECT, self.options)}
        self.paho.loop_stop()
        host, port = self.way.place if self.way else ("127.0.0.1", self.port)
        self.paho.connect(host, port, self.keep_alive, **more)
        self.paho.loop_start()
        self.wait(lambda: self.connack, "CONNACK")
        equal(self.connack[0].value, 0, f"{self.name}: code of CONNACK")
        return self

    @property
    def session_present(self):
        return self.connack[1].session_present

    @property
    def granted(self):
        """The properties of CONNACK."""
        return self.connack[2]

    def disconnect(self, code=0, **props):
        """Sends DISCONNECT and waits for the end."""
        if self.bench.v5:
            self.paho.disconnect(ReasonCode(PacketTypes.DISCONNECT, identifier=code),
                                 properties(PacketTypes.DISCONNECT, props))
        else:
            self.paho.disconnect()
        self.expect_close()

    def expect_close(self, code=None):
        """Waits for the end of the connection, in 5.0 by a DISCONNECT of the broker with `code`."""
        self.wait(lambda: self.closed, "end of the connection")
        if code is not None and self.bench.v5:
            reason, flags = self.closed
            equal((flags.is_disconnect_packet_from_server, reason.value), (True, code),
                  f"{self.name}: whether DISCONNECT came, and its code")

    def subscribe(self, topic_filter, qos=2, options=None, **props):
        """Subscribes; returns the codes of SUBACK."""
        if self.bench.v5:
            options = options or paho.SubscribeOptions(qos)
            result, mid = self.paho.subscribe(topic_filter, options=options,
                                              properties=properties(PacketTypes.SUBSCRIBE, props))
        else:
            result, mid = self.paho.subscribe(topic_filter, qos)
        equal(result, paho.MQTT_ERR_SUCCESS, "subscribe")
        return [code.value for code in self.wait(lambda: self.acks.get(mid), f"SUBACK for {topic_filter}")]

    def unsubscribe(self, topic_filter):
        """Unsubscribes; returns the codes of UNSUBACK (none before 5.0)."""
        result, mid = self.paho.unsubscribe(topic_filter)
        equal(result, paho.MQTT_ERR_SUCCESS, "unsubscribe")
        self.wait(lambda: mid in self.acks, f"UNSUBACK for {topic_filter}")
        return [code.value for code in self.acks[mid]]

    def send(self, topic, payload=b"", qos=0, retain=False, **props):
        """Publishes and waits for nothing; returns the packet identifier."""
        info = self.paho.publish(topic, payload, qos, retain, properties(PacketTypes.PUBLISH, props))
        return info.mid

    def publish(self, topic, payload=b"", qos=1, retain=False, **props):
        """Publishes and waits for the acknowledgement; returns its code."""
        mid = self.send(topic, payload, qos, retain, **props)
        return self.wait(lambda: self.acks.get(mid), f"acknowledgement of the publish to {topic}").value

    def got(self):
        """What has arrived: topic, payload as text, QoS, RETAIN."""
        text = lambda payload: payload.decode() if len(payload) < 100 else f"{len(payload)} bytes"
        return [(m.topic, text(m.payload), m.qos, int(m.retain)) for m in self.messages]

    def take(self, count=1):
        """Waits for `count` messages and removes them."""
        self.wait(lambda: len(self.messages) >= count, f"{count} messages")
        with self.changed:
            taken, self.messages = self.messages[:count], self.messages[count:]
        return taken

    def expect(self, *expected, from_=None):
        """Waits for these messages (see `got`), in order, and removes them. Once what `from_` published
        before has arrived too, there may be no other."""
        self.wait(lambda: len(self.messages) >= len(expected), f"{len(expected)} messages")
        if from_:
            self.fence(from_)
        equal(self.got(), list(expected), f"{self.name}: messages")
        self.messages.clear()

    def fence(self, publisher):
        """Waits until all that `publisher` has published so far must have arrived."""
        topic = f"fence/{next(self.bench.numbers)}"
        self.subscribe(topic, 1)
        publisher.publish(topic, qos=1)
        self.wait(lambda: topic in self.fences, "message behind those that should have come")
        self.unsubscribe(topic)

    def quiet(self, seconds):
        """Expects no message in this time. Only for what no later message can prove."""
        with self.changed:
            self.changed.wait_for(lambda: self.messages, seconds)
        equal(self.got(), [], f"{self.name}: messages where none should come")


def eventually(what, attempt, seconds=PATIENCE_S):
    """Repeats `attempt` until it returns something true."""
    end = time.monotonic() + seconds
    while not (result := attempt()):
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.05)
    return result
