"""origin_flood.py ADDRESS ORIGIN CA COUNT NAME... : sends COUNT requests to the origin at this address in the names of other
origins, in turns, none of which signed them, and prints how often each status came, as JSON. With `--listen IP` it also
counts who connects to port 443 of that address meanwhile, as if to ask one of the names for its key.
"""
import collections
import http.client
import json
import secrets
import socket
import ssl
import sys
import threading
import time
from base64 import urlsafe_b64encode

words = sys.argv[1:]
listen = words[words.index("--listen") + 1] if "--listen" in words else None
words = words[:words.index("--listen")] if listen else words
address, origin, ca, count, names = words[0], words[1], words[2], int(words[3]), words[4:]


def b64(data):
    return urlsafe_b64encode(data).rstrip(b"=").decode()


asked = 0


def count_connections():
    global asked
    door = socket.create_server((listen, 443), backlog=512)
    while True:
        connection, _ = door.accept()
        asked += 1
        connection.close()


if listen:
    threading.Thread(target=count_connections, daemon=True).start()

context = ssl.create_default_context(cafile=ca)


class Connection(http.client.HTTPSConnection):
    def connect(self):
        self.sock = context.wrap_socket(socket.create_connection((address, 443), 30), server_hostname=origin)


statuses, door = collections.Counter(), Connection(origin)
for number in range(count):
    name = names[number % len(names)]
    header = " ".join((f"origin={name}", f"destination={origin}", f"key_id=ed25519:{b64(secrets.token_bytes(32))}",
                       f"ts={int(time.time() * 1000)}", f"nonce={b64(secrets.token_bytes(16))}",
                       f"sig={b64(secrets.token_bytes(64))}"))
    for _ in range(2):
        try:
            door.request("GET", "/federation/v1/health", headers={"X-SMCP-Authorization": header})
            answer = door.getresponse()
            answer.read()
            break
        except (http.client.HTTPException, OSError):
            door.close()
    statuses[answer.status] += 1
time.sleep(0.5)
print(json.dumps({"statuses": statuses, "asked": asked}))
