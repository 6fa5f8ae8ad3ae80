"""login.py PORT VERSION USER PASSWORD prints what the broker says to such a login."""

import sys
import threading

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

PROTOCOLS = {"v31": paho.MQTTv31, "v311": paho.MQTTv311, "v5": paho.MQTTv5}
PATIENCE_S = 15


def main():
    port, version, user, password = sys.argv[1:]
    answered, said = threading.Event(), []

    def on_connect(client, userdata, flags, code, properties):
        said.append(str(code))
        answered.set()

    client = paho.Client(
        CallbackAPIVersion.VERSION2, "login", protocol=PROTOCOLS[version], reconnect_on_failure=False)
    client.username_pw_set(user, password)
    client.on_connect = on_connect
    client.connect("127.0.0.1", int(port))
    client.loop_start()
    if not answered.wait(PATIENCE_S):
        sys.exit("no CONNACK came")
    client.disconnect()
    client.loop_stop()
    print(said[0])


main()
