"""rtc_peer.py SCENE ADDRESS PORT: a WebRTC peer of aiortc, written from the protocol's text alone.

`speaks` opens a link over a data channel by signed offers over HTTP, says something, and prints what comes until its
input ends. `lies` offers what no peer should and prints how each offer was answered. One JSON object a line.
"""
import asyncio
import base64
import hashlib
import http.client
import json
import socket
import sys
import time
import uuid
from datetime import datetime, timedelta, timezone

from aiortc import RTCPeerConnection, RTCSessionDescription
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SCENE, ADDRESS, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
NAMESPACE = uuid.UUID("6f3c9a52-6c1d-5b7e-9d0a-8f5e2b1c4d70")


def say(**what):
    print(json.dumps(what), flush=True)


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def stamp(seconds=0):
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def signed_bytes(context, value):
    # Only texts and small whole numbers: sorted keys without spaces are RFC 8785.
    return context.encode() + b"\0" + json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def verify(node, context, value):
    public = Ed25519PublicKey.from_public_bytes(unb64(node.removeprefix("ed25519:")))
    public.verify(unb64(value["sig"]), signed_bytes(context, {k: v for k, v in value.items() if k != "sig"}))


class Key:
    def __init__(self):
        self.secret = Ed25519PrivateKey.generate()
        public = self.secret.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        self.node = "ed25519:" + b64(public)
        digest = bytearray(hashlib.sha1(NAMESPACE.bytes + public).digest()[:16])
        digest[6], digest[8] = digest[6] & 0x0F | 0x50, digest[8] & 0x3F | 0x80
        self.peer = str(uuid.UUID(bytes=bytes(digest)))

    def sign(self, context, value):
        return value | {"sig": b64(self.secret.sign(signed_bytes(context, value)))}

    def signal(self, kind, sdp, to, session, seconds=0):
        value = {"sdp_sha256": hashlib.sha256(sdp.encode()).hexdigest(), "from": self.node, "to": to,
                 "session": session, "kind": kind, "ts": int((time.time() + seconds) * 1000)}
        prints = [line.split(":", 1)[1].strip() for line in sdp.splitlines() if line.startswith("a=fingerprint:")]
        if prints:
            value["fingerprint"] = prints[0]
        return b64(json.dumps(self.sign("comity/signal/1", value)).encode())

    def hello(self):
        card = {"node": self.node, "name": "aiortc", "service": "comity", "version": "0.1.0", "protocol": "1.0.0",
                "capabilities": [], "roles": [], "expertise": [], "reports_to": [], "protocols": [], "endpoints": [],
                "started_at": stamp(), "issued_at": stamp(), "expires_at": stamp(3600)}
        return {"link": "hello", "protocol": "1.0.0", "boot": str(uuid.uuid4()),
                "card": self.sign("comity/card/1", card), "channels": [], "subscriptions": []}


def call(method, path, header=None, body="", kind="application/sdp"):
    door = http.client.HTTPConnection(ADDRESS, PORT, timeout=10)
    headers = {"Content-Type": kind} | ({"comity-signal": header} if header else {})
    door.request(method, path, body.encode(), headers)
    answer = door.getresponse()
    return answer.status, answer.headers, answer.read().decode()


def node_key():
    door = http.client.HTTPConnection(ADDRESS, PORT, timeout=10)
    door.request("GET", "/dashflow/status")
    return json.loads(door.getresponse().read())["card"]["node"]


async def offered():
    connection = RTCPeerConnection()
    channel = connection.createDataChannel("comity")
    await connection.setLocalDescription(await connection.createOffer())
    return connection, channel, connection.localDescription.sdp


async def speaks():
    key, node, session = Key(), node_key(), str(uuid.uuid4())
    connection, channel, sdp = await offered()
    began, words, greeted = time.monotonic(), asyncio.Queue(), asyncio.Event()

    @channel.on("open")
    def _():
        channel.send(json.dumps(key.hello()))

    @channel.on("message")
    def _(data):
        words.put_nowait(data)

    loop = asyncio.get_running_loop()
    header = key.signal("offer", sdp, node, session)
    status, headers, answer = await loop.run_in_executor(None, call, "POST", "/dashflow/rtc", header, sdp)
    assert status == 201, (status, answer)
    signal = json.loads(unb64(headers["comity-signal"]))
    verify(node, "comity/signal/1", signal)
    assert (signal["kind"], signal["session"], signal["to"]) == ("answer", session, key.node), signal
    assert signal["sdp_sha256"] == hashlib.sha256(answer.encode()).hexdigest()
    await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    hello = json.loads(await asyncio.wait_for(words.get(), 10))
    assert hello["link"] == "hello" and hello["card"]["node"] == node, hello
    verify(node, "comity/card/1", hello["card"])
    say(linked=True, peer=key.peer, node=key.node, seconds=time.monotonic() - began)
    channel.send(json.dumps({"id": str(uuid.uuid4()), "from": key.peer, "to": "broadcast", "type": "suggestion",
                             "payload": {"suggestion": "said by aiortc"}, "priority": "normal"}))

    async def listen():
        while True:
            data = await words.get()
            if isinstance(data, bytes):
                say(heard=data.decode("latin-1"))
                continue
            frame = json.loads(data)
            if frame.get("link") == "ping":
                channel.send(json.dumps({"link": "pong", "nonce": frame["nonce"], "ts": frame["ts"]}))
            else:
                say(heard=data)

    listening = asyncio.create_task(listen())
    await loop.run_in_executor(None, sys.stdin.read)
    listening.cancel()
    header = key.signal("end", "", node, session)
    status, *_ = await loop.run_in_executor(None, call, "DELETE", headers["Location"], header)
    say(ended=status)
    await connection.close()


async def lies():
    key, node = Key(), node_key()
    trap = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    trap.bind(("127.0.0.1", 0))
    connection, _, sdp = await offered()
    plain = "".join(line + "\r\n" for line in sdp.splitlines() if "candidate" not in line)
    path, fresh = "/dashflow/rtc", lambda: str(uuid.uuid4())

    def offer(what, sdp, header, body=None):
        say(offer=what, status=call("POST", path, header, sdp if body is None else body)[0])

    offer("unsigned", plain, None)
    offer("not base64url", plain, "???")
    offer("for another", plain, key.signal("offer", plain, Key().node, fresh()))
    offer("another description", plain, key.signal("offer", plain, node, fresh()), plain + "a=x\r\n")
    offer("old", plain, key.signal("offer", plain, node, fresh(), seconds=-120))
    offer("of tomorrow", plain, key.signal("offer", plain, node, fresh(), seconds=120))
    offer("an answer", plain, key.signal("answer", plain, node, fresh()))
    garbage = "v=0\r\n" + "\x01garbage" * 50
    offer("garbage", garbage, key.signal("offer", garbage, node, fresh()))
    empty = ""
    offer("empty", empty, key.signal("offer", empty, node, fresh()))
    huge = plain + "a=x\r\n" * 4000
    offer("huge", huge, key.signal("offer", huge, node, fresh()))
    places = ["127.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.251", "169.254.169.254", "::1", "::ffff:127.0.0.1"]
    candidates = [f"a=candidate:{n} 1 udp 2130706431 {place} {trap.getsockname()[1]} typ host\r\n"
                  for n, place in enumerate(places)]
    candidates += ["a=candidate:x\r\n", "a=candidate:1 1 udp 1 hidden.local 9 typ host\r\n"]
    inward, session = plain + "".join(candidates), fresh()
    header = key.signal("offer", inward, node, session)
    offer("inward", inward, header)
    offer("inward again", inward, header)
    stranger = Key()
    fragment = "".join(candidates)
    status = call("PATCH", f"{path}/{session}", stranger.signal("candidates", fragment, node, session), fragment,
                  "application/trickle-ice-sdpfrag")[0]
    say(offer="addresses by a stranger", status=status)
    status = call("DELETE", f"{path}/{session}", stranger.signal("end", "", node, session))[0]
    say(offer="end by a stranger", status=status)
    many = []
    for _ in range(40):
        one = Key()
        many.append(call("POST", path, one.signal("offer", plain, node, fresh()), plain)[0])
    say(offer="throw-away keys", taken=many.count(201), refused=sum(status in (429, 503) for status in many))
    trap.settimeout(4)
    try:
        say(trapped=trap.recvfrom(2048)[0].hex())
    except TimeoutError:
        say(trapped=None)
    await connection.close()


asyncio.run({"speaks": speaks, "lies": lies}[SCENE]())
