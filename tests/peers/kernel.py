"""kernel.py PORT ID: a foreign kernel, written from the protocol's text alone: it announces itself unsigned at the
broker on loopback, and says goodbye when its standard input ends."""
import datetime
import json
import sys

import paho.mqtt.client as mqtt

PORT, ID, PREFIX = int(sys.argv[1]), sys.argv[2], "mindgit/kernels"


def connected(client, _userdata, _flags, _reason, _properties):
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    info = {
        "id": ID, "url": "http://127.0.0.1:9", "capabilities": ["paint"],
        "metadata": {"version": "0.9.0", "startedAt": now, "uptime": 1}, "lastSeen": now,
    }
    client.publish(f"{PREFIX}/{ID}/announce", json.dumps(info), qos=1, retain=True)
    client.publish(f"{PREFIX}/{ID}/capabilities/cook", "{}", qos=1, retain=True)
    print("ready", flush=True)


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=ID, protocol=mqtt.MQTTv5)
client.on_connect = connected
client.will_set(f"{PREFIX}/{ID}/goodbye", b"", qos=1)
client.connect("127.0.0.1", PORT, keepalive=60)
client.loop_start()
sys.stdin.read()
for topic, body, retain in (
    (f"{PREFIX}/{ID}/announce", b"", True),
    (f"{PREFIX}/{ID}/capabilities/cook", b"", True),
    (f"{PREFIX}/{ID}/goodbye", b'{"reason": "done"}', False),
):
    client.publish(topic, body, qos=1, retain=retain).wait_for_publish(10)
client.disconnect()
client.loop_stop()
