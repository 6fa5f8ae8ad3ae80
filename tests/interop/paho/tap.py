"""A relay between a client and the broker: it sees every packet, can swallow some, and can be cut."""

import contextlib
import socket
import struct
import threading
from typing import NamedTuple

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = range(8, 15)


class Packet(NamedTuple):
    """A packet as it passed: `up` is towards the broker."""

    up: bool
    kind: int
    flags: int
    body: bytes
    raw: bytes

    def identifier(self):
        """The packet identifier of a PUBLISH above QoS 0 or of an acknowledgement."""
        at = 2 + int.from_bytes(self.body[:2], "big") if self.kind == PUBLISH else 0
        return int.from_bytes(self.body[at:at + 2], "big")


def split(data):
    """The first packet of `data` as (kind, flags, body, length), or None while it is not whole."""
    size, shift, at = 0, 0, 1
    while at < len(data):
        size |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            if len(data) < at + size:
                return None
            return data[0] >> 4, data[0] & 15, bytes(data[at:at + size]), at + size
    return None


def length(size):
    """A Variable Byte Integer."""
    return bytes([size]) if size < 128 else bytes([size % 128 + 128]) + length(size // 128)


class Tap:
    def __init__(self, port):
        self.broker = port
        self.changed = threading.Condition()
        self.packets = []
        self.swallow = lambda packet: False
        self.sockets = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.cut()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            broker = socket.create_connection(("127.0.0.1", self.broker))
            self.sockets += [client, broker]
            threading.Thread(target=self._relay, args=(client, broker, True), daemon=True).start()
            threading.Thread(target=self._relay, args=(broker, client, False), daemon=True).start()

    def _relay(self, source, sink, up):
        data = bytearray()
        try:
            while received := source.recv(65536):
                data += received
                while found := split(data):
                    kind, flags, body, end = found
                    packet = Packet(up, kind, flags, body, bytes(data[:end]))
                    del data[:end]
                    if not self.swallow(packet):
                        sink.sendall(packet.raw)
                    with self.changed:
                        self.packets.append(packet)
                        self.changed.notify_all()
        except OSError:
            pass
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def wait(self, kind, up, count=1, seconds=15):
        """Waits for packets of this kind and direction; returns them."""
        def found():
            return [packet for packet in self.packets if (packet.kind, packet.up) == (kind, up)]

        with self.changed:
            if not self.changed.wait_for(lambda: len(found()) >= count, seconds):
                seen = [(packet.kind, packet.up) for packet in self.packets]
                raise AssertionError(f"no {count} packets of type {kind} within {seconds} s; passed: {seen}")
            return found()

    def hold(self, up=None):
        """Swallows everything from now on, as a network does that has gone away."""
        self.swallow = lambda packet: up is None or packet.up == up

    def cut(self):
        """Resets both connections, and relays the next one faithfully."""
        for end in self.sockets:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.sockets = []
        self.swallow = lambda packet: False
        self.packets = []


def exchange(port, sent, seconds=15):
    """Sends bytes that no client would and returns all that comes back until the broker closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as end:
        end.sendall(sent)
        received = bytearray()
        try:
            while data := end.recv(65536):
                received += data
        except ConnectionResetError:
            pass
        except TimeoutError:
            raise AssertionError(f"the broker did not close within {seconds} s, it sent {received.hex()}") from None
        return bytes(received)


def connect_packet(version, name, keep_alive=60):
    """A CONNECT with clean session, and without properties."""
    head = {"v31": b"\0\6MQIsdp\3", "v311": b"\0\4MQTT\4", "v5": b"\0\4MQTT\5"}[version]
    body = head + b"\2" + keep_alive.to_bytes(2, "big") + (b"\0" if version == "v5" else b"")
    body += len(name).to_bytes(2, "big") + name.encode()
    return bytes([0x10, len(body)]) + body
