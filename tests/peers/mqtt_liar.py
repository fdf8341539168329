"""mqtt_liar.py PORT ID [flood]: a client that lies about the node with this id in every way it can think of, or
announces 100,000 peers that do not exist. It prints `done` when the broker has taken everything."""
import base64
import datetime
import json
import sys
import threading

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PORT, ID, PREFIX = int(sys.argv[1]), sys.argv[2], "mindgit/kernels"
real = threading.Event()
kept = []


def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(value, key):
    """Good enough for what is only of texts and lists."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return {**value, "sig": text(key.sign(b"comity/announce/1\0" + canonical))}


def heard(_client, _userdata, message):
    if message.topic == f"{PREFIX}/{ID}/announce" and message.payload:
        kept.append(message.payload)
        # Later words than the first are there to be undone.
        if len(set(kept)) > 1:
            real.set()


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="liar", protocol=mqtt.MQTTv5)
client.max_queued_messages_set(0)
client.on_message = heard
client.connect("127.0.0.1", PORT)
client.loop_start()
if "flood" in sys.argv:
    for number in range(100_000):
        last = client.publish(f"{PREFIX}/k-{number}/announce", f'{{"id":"k-{number}"}}', qos=0)
    last.wait_for_publish(120)
    client.publish(f"{PREFIX}/liar/announce", b'{"id":"liar"}', qos=1).wait_for_publish(60)
    print("done", flush=True)
    sys.exit()
client.subscribe(f"{PREFIX}/{ID}/announce", qos=1)
assert real.wait(20), "the node is not announced"
genuine = json.loads(kept[0])
key = Ed25519PrivateKey.generate()
public = "ed25519:" + text(key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))
soon = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=60)).isoformat()
past = "2020-01-01T00:00:00Z"
mine = {"id": ID, "url": "http://169.254.169.254/", "capabilities": ["evil"], "lastSeen": soon, "expiresAt": soon,
        "session": "s", "publicKey": public}
lies = [
    ("announce", b"not JSON"),
    ("announce", b"\xff\xfe"),
    ("announce", b"[" * 50_000),
    ("announce", b'{"id":"' + b"x" * 1_000_000 + b'"}'),
    ("announce", json.dumps({**genuine, "url": "http://10.6.6.6:1"}).encode()),
    ("announce", json.dumps({"id": ID, "capabilities": ["evil"]}).encode()),
    ("announce", json.dumps({"id": "somebody-else"}).encode()),
    ("announce", json.dumps({"id": ID, "expiresAt": past}).encode()),
    ("announce", json.dumps(signed(mine, key)).encode()),
    ("announce", kept[0]),
    ("announce", b""),
    ("capabilities/evil", b"{}"),
    ("capabilities/evil", json.dumps(signed({"capability": "evil", "session": genuine["session"]}, key)).encode()),
    ("goodbye", b""),
    ("goodbye", b'{"reason": "forged"}'),
    ("goodbye", json.dumps(signed({"reason": "forged", "session": genuine["session"]}, key)).encode()),
    # The node's own words, on a topic where they would mean something else.
    ("goodbye", kept[0]),
    ("goodbye", kept[-1]),
    ("capabilities/evil", kept[-1]),
    ("goodbye", b'{"reason": "forged", "session": "' + genuine["session"].encode() + b'", "sig": "AAAA"}'),
]
for topic, body in lies:
    for retain in (False, True):
        client.publish(f"{PREFIX}/{ID}/{topic}", body, qos=1, retain=retain).wait_for_publish(20)
# Nothing of the lies stays for those who come later.
for topic in ("announce", "capabilities/evil", "goodbye"):
    client.publish(f"{PREFIX}/{ID}/{topic}", b"", qos=1, retain=True).wait_for_publish(20)
print("done", flush=True)
