"""hostile.py SCENE ARGUMENTS...: peers that break the rules, written from the protocol's text alone.

Every scene prints what it saw, one JSON object a line. Scenes with a key prove it as the protocol says, and lie
afterwards. A scene that serves ends when its standard input ends.
"""
import asyncio
import base64
import datetime
import hashlib
import http.client
import itertools
import json
import os
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time
import uuid

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response

NAMESPACE = uuid.UUID("6f3c9a52-6c1d-5b7e-9d0a-8f5e2b1c4d70")
HEADER = struct.Struct("<BB16sHIIHH")
SUGGESTION, EXTENDED = 0x03, 0xFF
ADDRESSED, IDENTIFIED = 4, 8


def say(**what):
    print(json.dumps(what), flush=True)


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def stamp(seconds=0):
    time = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"


def fnv1a(text):
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 % 2**32
    return value


class Key:
    """A node's key, and what follows from it."""

    def __init__(self):
        self.secret = Ed25519PrivateKey.generate()
        raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
        public = self.secret.public_key().public_bytes(*raw)
        self.node = "ed25519:" + b64(public)
        digest = bytearray(hashlib.sha1(NAMESPACE.bytes + public).digest()[:16])
        digest[6], digest[8] = digest[6] & 0x0F | 0x50, digest[8] & 0x3F | 0x80
        self.peer = uuid.UUID(bytes=bytes(digest))

    def card(self, name, endpoint):
        card = {
            "node": self.node, "name": name, "service": "comity", "version": "0.1.0", "protocol": "1.0.0",
            "capabilities": [], "roles": [], "expertise": [], "reports_to": [], "protocols": [],
            "endpoints": [endpoint], "started_at": stamp(), "issued_at": stamp(), "expires_at": stamp(3600),
        }
        # No numbers and only ASCII: sorted keys without spaces are RFC 8785.
        signed = json.dumps(card, sort_keys=True, separators=(",", ":")).encode()
        return card | {"sig": b64(self.secret.sign(b"comity/card/1\0" + signed))}

    def hello(self, card, channels):
        return json.dumps({
            "link": "hello", "protocol": "1.0.0", "boot": str(uuid.uuid4()), "card": card, "channels": channels,
            "subscriptions": [],
        })

    def tls(self, purpose):
        """TLS with this key, which takes any certificate of the other side."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
        now = datetime.datetime.now(datetime.timezone.utc)
        certificate = x509.CertificateBuilder().subject_name(name).issuer_name(name)
        certificate = certificate.public_key(self.secret.public_key()).serial_number(x509.random_serial_number())
        certificate = certificate.not_valid_before(now - datetime.timedelta(days=1))
        certificate = certificate.not_valid_after(now + datetime.timedelta(days=1)).sign(self.secret, None)
        context = ssl.SSLContext(purpose)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["comity/1"])
        if purpose == ssl.PROTOCOL_TLS_CLIENT:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        with tempfile.NamedTemporaryFile() as file:
            file.write(certificate.public_bytes(serialization.Encoding.PEM) + self.secret.private_bytes(*form))
            file.flush()
            context.load_cert_chain(file.name)
        return context


def compact(sender, payload=b"\x81\xaasuggestion\xa1x", kind=SUGGESTION, priority=1, ttl=60, channel="_suggestions",
            seconds=0, flags=IDENTIFIED, ids=None, length=None):
    ids = uuid.uuid4().bytes + bytes(16) if ids is None else ids
    length = len(payload) if length is None else length
    seconds = int(time.time()) + seconds
    return HEADER.pack(kind, priority, sender, ttl, fnv1a(channel), seconds, length, flags) + ids + payload


class Liar:
    """A node that keeps to the protocol until its link is up."""

    def __init__(self, port, channels=("_suggestions",)):
        self.port, self.key, self.channels = port, Key(), list(channels)
        self.context = self.key.tls(ssl.PROTOCOL_TLS_CLIENT)

    async def link(self):
        socket = await connect(f"wss://127.0.0.1:{self.port}/dashflow/link", ssl=self.context, proxy=None,
                               ping_interval=None, compression=None, max_size=2**20)
        await socket.send(self.key.hello(self.key.card("liar", "https://127.0.0.1:9"), self.channels))
        hello = json.loads(await socket.recv())
        assert hello["link"] == "hello", hello
        return socket

    def compact(self, **different):
        return compact(self.key.peer.bytes, **different)


async def closed(socket, within=10):
    """Whether the other side closes the link in time."""
    try:
        async with asyncio.timeout(within):
            while True:
                frame = json.loads(await socket.recv())
                if frame.get("link") == "ping":
                    await socket.send(json.dumps({"link": "pong", "nonce": frame["nonce"], "ts": frame["ts"]}))
    except ConnectionClosed:
        return True
    except TimeoutError:
        return False


async def told(socket, number):
    """The fates in the receipts up to this message."""
    fates = {}
    async with asyncio.timeout(10):
        while True:
            frame = json.loads(await socket.recv())
            if frame.get("link") == "receipt":
                fates |= {id: fate for id, fate in frame["fates"]}
                if frame["received"] >= number:
                    return fates


async def broken_frames(port):
    """Compact frames cut at every byte, and with every near lie about the length."""
    liar = Liar(port)
    whole = liar.compact()
    cuts = [whole[:end] for end in range(len(whole))]
    right = len(whole) - HEADER.size - 32
    lies = [liar.compact(length=length) for length in [*range(right), *range(right + 1, 3 * right), 0x8000, 0xFFFF]]
    for name, frames in [("cuts", cuts), ("lies", lies)]:
        ended = 0
        for frame in frames:
            socket = await liar.link()
            await socket.send(frame)
            ended += await closed(socket)
            await socket.close()
        say(scene=name, frames=len(frames), closed=ended)
    socket = await liar.link()
    await socket.send(whole)
    say(scene="whole", fates=list((await told(socket, 1)).values()))
    await socket.close()


async def unknown_values(port):
    """What a later version could send is dropped message by message, and the link lives on until it says no JSON."""
    liar = Liar(port)
    socket = await liar.link()
    good = uuid.uuid4()
    await socket.send(
        liar.compact(kind=0x42) + liar.compact(priority=9) + liar.compact(flags=IDENTIFIED | 0x100)
        + liar.compact(channel="custom:unnamed") + liar.compact(ttl=3601) + liar.compact(payload=b"\xc1")
        + liar.compact(ids=good.bytes + bytes(16))
    )
    await socket.send("[]")
    await socket.send(json.dumps({"link": "teleport"}))
    say(scene="unknown", fates=await told(socket, 7), good=str(good))
    await socket.send("{}{")
    say(scene="no json", closed=await closed(socket))
    await socket.close()


async def lies_in_messages(port, victim):
    """A forged sender, a replay, a message that has expired, one from the future."""
    liar = Liar(port)
    socket = await liar.link()
    names = ["good", "forged", "again", "expired", "future"]
    ids = dict(zip(names, [uuid.uuid4() for _ in names]))
    ids["again"] = ids["good"]
    said = [liar.compact(ids=ids["good"].bytes + bytes(16)),
            compact(uuid.UUID(victim).bytes, ids=ids["forged"].bytes + bytes(16)),
            liar.compact(ids=ids["again"].bytes + bytes(16)),
            liar.compact(ids=ids["expired"].bytes + bytes(16), seconds=-120),
            liar.compact(ids=ids["future"].bytes + bytes(16), seconds=600)]
    for message in said:
        await socket.send(message)
    fates = await told(socket, len(said))
    say(scene="lies", fates={name: fates.get(str(ids[name])) for name in names})
    await socket.close()


def same_hash():
    """Two channel names that FNV-1a 32 does not tell apart."""
    found = {}
    for number in itertools.count():
        name = f"custom:c{number}"
        if (other := found.setdefault(fnv1a(name), name)) != name:
            return other, name


async def hash_collision(port):
    """Names two channels of one hash; prints them, and after a line of input speaks on both."""
    first, second = same_hash()
    say(scene="collision", names=[first, second])
    sys.stdin.readline()
    liar = Liar(port, [first])
    socket = await liar.link()
    await socket.send(json.dumps({"link": "channels", "names": [second]}))
    await socket.send(liar.compact(channel=second, payload=b"\xa5first"))
    extended = {"id": str(uuid.uuid4()), "from": str(liar.key.peer), "to": f"group:{second}", "type": "suggestion",
                "channel": second, "payload": "second", "priority": "normal", "timestamp": stamp(), "ttl": 60}
    await socket.send(liar.compact(kind=EXTENDED, channel=second, payload=json.dumps(extended).encode()))
    say(scene="spoken", fates=await told(socket, 2))
    await socket.close()


async def silence(port):
    """A link that answers no ping; prints how long it lived."""
    liar = Liar(port)
    socket = await liar.link()
    start = time.monotonic()
    try:
        async with asyncio.timeout(30):
            while True:
                await socket.recv()
    except ConnectionClosed:
        say(scene="silence", closed=True, lived=time.monotonic() - start)


async def tells(address, peers_file):
    """A verified peer whose list of peers is in this file."""
    await serving(address, "teller", peers=json.load(open(peers_file)))


async def poses(address, card_file):
    """Answers by TLS with a key of its own and the card of somebody else."""
    await serving(address, "poser", card=json.load(open(card_file)))


async def serving(address, name, card=None, peers=None):
    key = Key()

    def answer(connection, request):
        say(asked=request.path)
        if request.path == "/dashflow/link":
            return None
        body = json.dumps({"peers": peers or [], "total": len(peers or []), "online": 0}).encode()
        headers = Headers([("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return Response(200, "OK", headers, body)

    async def talk(socket):
        await socket.send(key.hello(card or key.card(name, f"https://{address}:{port}"), []))
        say(closed=await closed(socket, 3600))

    async with serve(talk, address, 0, ssl=key.tls(ssl.PROTOCOL_TLS_SERVER), process_request=answer,
                     ping_interval=None) as server:
        port = server.sockets[0].getsockname()[1]
        say(ready=f"https://{address}:{port}", id=str(key.peer))
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def replays(address, status_file):
    """Answers by plain HTTP with the whole status of somebody else, signed card and all."""
    import http.server
    status = open(status_file, "rb").read()

    class Door(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            say(asked=self.path)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(status)))
            self.end_headers()
            self.wfile.write(status)

        def do_POST(self):
            say(got=self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer((address, 0), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say(ready=f"http://{address}:{server.server_port}")
    sys.stdin.read()


def post(port, source, message, connection=None):
    connection = connection or http.client.HTTPConnection("127.0.0.1", port, 30, (source, 0))
    connection.request("POST", "/dashflow/message", json.dumps(message), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return connection, answer.status


def suggestion(sender, priority="normal"):
    return {"id": str(uuid.uuid4()), "from": sender, "to": "broadcast", "type": "suggestion",
            "payload": {"suggestion": "x"}, "priority": priority, "timestamp": stamp()}


def crowd(port, sender, count):
    """So many addresses that all claim one id, each with one message."""
    statuses = {}
    for number in range(int(count)):
        source = f"127.77.{number // 250}.{number % 250 + 1}"
        connection, status = post(int(port), source, suggestion(sender))
        connection.close()
        statuses[status] = statuses.get(status, 0) + 1
    say(scene="crowd", statuses=statuses)


def flood(port, source, threads):
    """Messages as fast as they go, each under another id, until standard input ends."""
    statuses, lock = {}, threading.Lock()

    def pour():
        connection = None
        while not ended.is_set():
            connection, status = post(int(port), source, suggestion(str(uuid.uuid4())), connection)
            with lock:
                statuses[status] = statuses.get(status, 0) + 1

    ended = threading.Event()
    pouring = [threading.Thread(target=pour) for _ in range(int(threads))]
    [thread.start() for thread in pouring]
    while sum(statuses.values()) < 500:
        time.sleep(0.01)
    say(scene="flooding")
    sys.stdin.read()
    ended.set()
    [thread.join() for thread in pouring]
    say(scene="flood", statuses=statuses)


def works(port, source, count, pause):
    """So many messages at a steady pace from this address; prints the answers and the slowest, in seconds."""
    sender, statuses, slowest, connection = str(uuid.uuid4()), {}, 0, None
    for _ in range(int(count)):
        start = time.monotonic()
        connection, status = post(int(port), source, suggestion(sender, "critical"), connection)
        statuses[status] = statuses.get(status, 0) + 1
        slowest = max(slowest, time.monotonic() - start)
        time.sleep(float(pause))
    say(scene="works", statuses=statuses, slowest=slowest)


def crowds_in(address, port, count):
    """Holds so many connections open at once; prints how many the other side closed at once."""
    held = [socket.create_connection((address, int(port)), 10) for _ in range(int(count))]
    open_ones = []
    for one in held:
        one.sendall(b"GET /dashflow/status HTTP/1.1\r\nHost: " + address.encode() + b"\r\n\r\n")
    for one in held:
        try:
            one.settimeout(10)
            if one.recv(1):
                open_ones.append(one)
        except OSError:
            pass
    say(scene="held", held=len(open_ones), refused=len(held) - len(open_ones))
    sys.stdin.read()


def hoards(port, source, count):
    """Bodies of almost a mebibyte, so many at once, of which the last byte never comes."""
    held = []
    for _ in range(int(count)):
        one = socket.create_connection(("127.0.0.1", int(port)), 10, (source, 0))
        one.sendall(b"POST /dashflow/message HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                    b"Content-Length: 1000001\r\n\r\n")
        one.setblocking(False)
        held.append([one, b" " * 1000000])
    idle = time.monotonic()
    while any(rest for _, rest in held) and time.monotonic() - idle < 1:
        for one in held:
            try:
                sent = one[0].send(one[1]) if one[1] else 0
            except BlockingIOError:
                sent = 0
            one[1] = one[1][sent:]
            idle = time.monotonic() if sent else idle
        time.sleep(0.01)
    say(scene="hoarding")
    sys.stdin.read()


def traps(*doors):
    """Listens where nobody may be sent, `address port` each, and prints who comes."""
    import select
    listening = [socket.create_server((address, int(port))) for address, port in zip(doors[::2], doors[1::2])]
    say(scene="set")
    while True:
        for trap in select.select(listening, [], [])[0]:
            say(caught=trap.getsockname(), who=trap.accept()[1])


def advertises(address, victim, node, count):
    """mDNS records without end: one peer's id under many instances, and TXT of hostile bytes."""
    from zeroconf import DNSAddress, DNSOutgoing, DNSPointer, DNSService, DNSText
    service, multicast = "_dashflow._tcp.local.", ("224.0.0.251", 5353)
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
    out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    out.bind((address, 5353))

    def announce(instance, strings):
        name, host = f"{instance}.{service}", f"{instance}.local."
        text = b"".join(bytes([len(string)]) + string for string in strings)
        packet = DNSOutgoing(0x8400)
        unique = 0x8001
        packet.add_answer_at_time(DNSPointer(service, 12, 1, 120, name), 0)
        packet.add_answer_at_time(DNSService(name, 33, unique, 120, 0, 0, 9, host), 0)
        packet.add_answer_at_time(DNSText(name, 16, unique, 120, text), 0)
        packet.add_answer_at_time(DNSAddress(host, 1, unique, 120, socket.inet_aton(address)), 0)
        for data in packet.packets():
            out.sendto(data, multicast)

    endpoint = f"endpoint=http://{address}:9".encode()
    who = [f"id={victim}".encode(), f"key={node}".encode()]
    for number in range(int(count)):
        announce(f"claim-{number}", [b"txtvers=1", *who, b"name=thief", endpoint])
        time.sleep(0.002)
    esc, rtl = b"\x1b[2J\x1b]0;owned\x07", "\u202e\u2066".encode()
    metadata = b"endpoint=http://169.254.169.254:80"
    for number, strings in enumerate([
        [b"id=" + b"\xff" * 200, b"name=" + b"\xfe\xff" * 60, endpoint],
        [b"\x00" * 255] * 5,
        [b"=", b"==", b"", b"id", b"id=", b"caps=,,,,%,%2,%zz", b"meta=:;:;a:b;;", endpoint],
        [b"id=" + str(uuid.uuid4()).encode(), b"name=" + esc + rtl + b"mallory", endpoint],
        [b"id=" + str(uuid.uuid4()).encode(), b"name=cloud", metadata],
        [b"id=" + str(uuid.uuid4()).encode(), b"name=inside", b"endpoint=http://127.0.0.1:22"],
        [b"id=" + str(uuid.UUID(int=0)).encode(), b"name=nobody", b"key=ed25519:" + b"A" * 43, endpoint],
        [os.urandom(255) for _ in range(4)],
    ]):
        announce(f"hostile-{number}", strings)
    say(scene="advertised")
    sys.stdin.read()


if __name__ == "__main__":
    scene = globals()[sys.argv[1]](*sys.argv[2:])
    if asyncio.iscoroutine(scene):
        asyncio.run(scene)
