#!/usr/bin/env python3
"""Makes or checks every test vector in this folder from the text of protocols/identity.md,
protocols/local-network.md, protocols/mqtt-discovery.md, protocols/pubsub.md, protocols/federation.md, protocols/mesh.md, docs/journal.md, docs/federation.md and the RFCs they name. Shares no code with Comity: primitives
come from Python `cryptography`, zstd from the system's libzstd, the judgement of schemas from Python `jsonschema`. Exits with 1 and says where on the first difference.

Usage: reproduce.py [FOLDER]
"""

import base64
import ctypes
import ctypes.util
import copy
import datetime
import hashlib
import hmac
import json
import math
import pathlib
import re
import struct
import sys
import uuid

import jsonschema
import referencing
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

NAMESPACE = uuid.UUID("6f3c9a52-6c1d-5b7e-9d0a-8f5e2b1c4d70")
FOLDER = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
FOLDER = FOLDER if FOLDER.is_dir() else FOLDER.parent
checks = 0


def same(what, made, stored):
    """Ends the program unless both are the same."""
    global checks
    checks += 1
    if made != stored:
        sys.exit(f"{what} differs:\n  made here: {made!r}\n  stored:    {stored!r}")


def vectors(name):
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# RFC 8785


def canonical(value):
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, (int, float)):
        return number(float(value))
    if isinstance(value, str):
        return string(value)
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
    return "{" + ",".join(string(key) + ":" + canonical(value[key]) for key in keys) + "}"


def string(text):
    short = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
    return '"' + "".join(short.get(c) or (f"\\u{ord(c):04x}" if c < " " else c) for c in text) + '"'


def number(value):
    """ECMAScript's Number::toString: `repr` gives the shortest digits, this puts the point."""
    if value == 0:
        return "0"
    if value < 0:
        return "-" + number(-value)
    mantissa, _, exponent = repr(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)
    digits = whole + fraction
    point -= len(digits) - len(digits.lstrip("0"))
    digits = digits.strip("0")
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    exponent = f"e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return digits[0] + ("." + digits[1:] if len(digits) > 1 else "") + exponent


def canonical_vectors():
    stored = vectors("canonical")
    for one in stored["numbers"]:
        same("number", number(struct.unpack(">d", bytes.fromhex(one["bits"]))[0]), one["text"])
    for one in stored["documents"]:
        same("canonical document", canonical(json.loads(one["document"])), one["canonical"])


# One key


class Key:
    def __init__(self, seed):
        self.private = Ed25519PrivateKey.from_private_bytes(seed)
        raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
        self.public = self.private.public_key().public_bytes(*raw)
        self.node = "ed25519:" + b64(self.public)
        self.peer = str(peer_of(self.public))
        # RFC 8032: the scalar is the clamped first half of SHA-512(seed); X25519 clamps by itself.
        self.sealing = X25519PrivateKey.from_private_bytes(hashlib.sha512(seed).digest()[:32])
        self.sealing_public = self.sealing.public_key().public_bytes(*raw)

    def sign(self, context, value):
        return b64(self.private.sign(signed(context, value)))


def peer_of(name):
    """UUIDv5 of bytes (the `uuid` module takes only text)."""
    digest = bytearray(hashlib.sha1(NAMESPACE.bytes + name).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return uuid.UUID(bytes=bytes(digest))


def montgomery(public):
    """The birational map of RFC 7748: u = (1 + y) / (1 - y)."""
    p = 2**255 - 19
    y = int.from_bytes(public, "little") & (2**255 - 1)
    return ((1 + y) * pow(1 - y, -1, p) % p).to_bytes(32, "little")


def base58(data):
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    value, text = int.from_bytes(data, "big"), ""
    while value:
        value, digit = divmod(value, 58)
        text = alphabet[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def identity_vectors():
    stored = vectors("identity")
    for one in stored["keys"]:
        key = Key(bytes.fromhex(one["seed"]))
        protobuf = b"\x08\x01\x12\x20" + key.public
        made = {
            "seed": one["seed"],
            "public_key": key.public.hex(),
            "node": key.node,
            "short": b64(key.public)[:8],
            "peer": key.peer,
            "libp2p": base58(bytes([0, len(protobuf)]) + protobuf),
            "libp2p_cid": "b" + base64.b32encode(bytes([1, 0x72, 0, len(protobuf)]) + protobuf).decode().lower().rstrip("="),
            "sealing_public_key": montgomery(key.public).hex(),
        }
        same("identity", made, one)
        same("sealing key of the secret", key.sealing_public.hex(), one["sealing_public_key"])
    for one in stored["foreign"]:
        same("foreign peer", str(uuid.uuid5(NAMESPACE, one["foreign_id"])), one["peer"])


# Signatures


CONTEXTS = [
    f"comity/{name}/1"
    for name in "card message announce signal request response event order rotation basin knowledge journal claim"
    " candidate vote grant".split()
]


def signed(context, value):
    return context.encode() + b"\0" + canonical(value).encode()


def verify(node, context, value, signature):
    assert node.startswith("ed25519:")
    key = Ed25519PublicKey.from_public_bytes(unb64(node.removeprefix("ed25519:")))
    key.verify(unb64(signature), signed(context, value))


def signature_vectors():
    stored = vectors("signature")
    key = Key(bytes.fromhex(stored["seed"]))
    same("canonical", canonical(stored["value"]), stored["canonical"])
    same("contexts", CONTEXTS, [one["context"] for one in stored["signatures"]])
    for one in stored["signatures"]:
        same(one["context"], key.sign(one["context"], stored["value"]), one["sig"])


def unsigned(value):
    return {name: field for name, field in value.items() if name != "sig"}


def card_vectors():
    stored = vectors("card")
    key = Key(bytes.fromhex(stored["seed"]))
    wanted = "node name service version protocol capabilities roles expertise reports_to protocols endpoints started_at"
    wanted = set(f"{wanted} issued_at expires_at sig".split())
    for card in stored["cards"]:
        same("card fields", wanted - set(card), set())
        same("card fields", set(card) - wanted - {"origin", "detail"}, set())
        same("card node", card["node"], key.node)
        same("card signature", key.sign("comity/card/1", unsigned(card)), card["sig"])
        life = moment(card["expires_at"]) - moment(card["issued_at"])
        same("card lifetime", datetime.timedelta(0) < life <= datetime.timedelta(hours=24), True)


# MQTT


def announce_vectors():
    stored = vectors("announce")
    key = Key(bytes.fromhex(stored["seed"]))
    other = Key(bytes([2] * 32))
    base = f"mindgit/kernels/{key.peer}"
    topics = {
        "announce": f"{base}/announce",
        "capability": f"{base}/capabilities/search",
        "goodbye": f"{base}/goodbye",
        "signal": f"{base}/signal/{other.peer}",
    }
    same("topics", topics, stored["topics"])
    wanted = set("id url capabilities protocols protocolVersion metadata lastSeen publicKey expiresAt session sig".split())
    for info in stored["infos"]:
        same("info fields", set(info) - wanted, set())
        same("info id", (info["id"], info["publicKey"]), (key.peer, key.node))
        moment(info["lastSeen"])
    # All are signed in one context: a reader tells them apart by their fields.
    same("capability fields", set(stored["capability"]), {"capability", "version", "session", "sig"})
    same("goodbye fields", set(stored["goodbye"]), {"reason", "session", "sig"})
    for value in [*stored["infos"], stored["capability"], stored["goodbye"]]:
        same("announcement session", bool(value["session"]), True)
        same("announcement signature", key.sign("comity/announce/1", unsigned(value)), value["sig"])


def signal_vectors():
    stored = vectors("signal")
    sender, receiver = (Key(bytes.fromhex(stored[name])) for name in ("from_seed", "to_seed"))
    for one in stored["signals"]:
        sdp = one["sdp"]
        value = {
            "sdp_sha256": hashlib.sha256(sdp.encode()).hexdigest(),
            "from": sender.node,
            "to": receiver.node,
            "session": one["session"],
            "kind": one["kind"],
            "ts": one["ts"],
        }
        found = re.search(r"^a=fingerprint:(.*?)\r?$", sdp, re.M)
        if found:
            value["fingerprint"] = found[1]
        header = json.loads(unb64(one["header"]))
        same("signal", unsigned(header), value)
        same("signal signature", sender.sign("comity/signal/1", value), header["sig"])
        bound = canonical({"channel": "signal", "from": sender.peer, "to": receiver.peer}).encode()
        sealed = bytes.fromhex(one["sealed"])
        plain = unseal(receiver, sealed, bound)
        same("sealed signal", json.loads(plain), header | {"sdp": sdp})
        same("sealed again", seal(bytes.fromhex(one["entropy"]), montgomery(receiver.public), plain, bound), sealed)


# Messages


def moment(text):
    same("time", bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)), True)
    return datetime.datetime.fromisoformat(text)


KINDS = "status suggestion bug error query response heartbeat extended".split()
CODED_KINDS = dict(zip("Status Suggestion BugReport Error Query Response Heartbeat Extended".split(), KINDS))


def design(coded):
    """The coded spelling in the design's."""
    value = {name: field for name, field in coded.items() if name not in ("msg_type", "to")}
    to = coded["to"]
    value["type"] = CODED_KINDS[coded["msg_type"]]
    value["priority"] = coded["priority"].lower()
    value["to"] = "broadcast" if to == "Broadcast" else f"group:{to['Channel']}" if "Channel" in to else to["Peer"]
    return value


def message_vectors():
    stored = vectors("message")
    key = Key(bytes.fromhex(stored["seed"]))
    for one in stored["messages"]:
        message = one["design"]
        check_message(message)
        same("the coded spelling", design(one["coded"]), message)
        same("signed fields", unsigned(one["signed"]), {**message, "from_key": key.node})
        same("message signature", key.sign("comity/message/1", unsigned(one["signed"])), one["signed"]["sig"])
        same("from", one["signed"]["from"], key.peer)


def check_message(message):
    same("type", message["type"] in KINDS, True)
    same("priority", message["priority"] in ("critical", "normal", "background"), True)
    same("ttl", 1 <= message["ttl"] <= 3600, True)
    for name in ("id", "from", "reply_to"):
        if name in message:
            same(name, str(uuid.UUID(message[name])), message[name])
    moment(message["timestamp"])
    same("nothing is null but payload", [name for name in message if message[name] is None and name != "payload"], [])


# Sealed messages: RFC 9180, base mode


KEM = b"KEM" + struct.pack(">H", 0x0020)
SUITE = b"HPKE" + struct.pack(">HHH", 0x0020, 0x0001, 0x0003)


def extract(salt, ikm):
    return hmac.digest(salt or bytes(32), ikm, "sha256")


def expand(prk, info, length):
    out, block, counter = b"", b"", 1
    while len(out) < length:
        block = hmac.digest(prk, block + info + bytes([counter]), "sha256")
        out, counter = out + block, counter + 1
    return out[:length]


def labeled_extract(suite, salt, label, ikm):
    return extract(salt, b"HPKE-v1" + suite + label + ikm)


def labeled_expand(suite, prk, label, info, length):
    return expand(prk, struct.pack(">H", length) + b"HPKE-v1" + suite + label + info, length)


def cipher_of(shared, encapsulated, receiver):
    """The AEAD and nonce of the first message, from the Diffie-Hellman result."""
    prk = labeled_extract(KEM, b"", b"eae_prk", shared)
    secret = labeled_expand(KEM, prk, b"shared_secret", encapsulated + receiver, 32)
    context = b"\0" + labeled_extract(SUITE, b"", b"psk_id_hash", b"")
    context += labeled_extract(SUITE, b"", b"info_hash", b"comity/seal/1")
    prk = labeled_extract(SUITE, secret, b"secret", b"")
    key = labeled_expand(SUITE, prk, b"key", context, 32)
    return ChaCha20Poly1305(key), labeled_expand(SUITE, prk, b"base_nonce", context, 12)


def seal(entropy, receiver, plain, bound):
    prk = labeled_extract(KEM, b"", b"dkp_prk", entropy)
    ephemeral = X25519PrivateKey.from_private_bytes(labeled_expand(KEM, prk, b"sk", b"", 32))
    raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    encapsulated = ephemeral.public_key().public_bytes(*raw)
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(receiver))
    aead, nonce = cipher_of(shared, encapsulated, receiver)
    return encapsulated + aead.encrypt(nonce, plain, bound)


def unseal(key, sealed, bound):
    shared = key.sealing.exchange(X25519PublicKey.from_public_bytes(sealed[:32]))
    aead, nonce = cipher_of(shared, sealed[:32], key.sealing_public)
    return aead.decrypt(nonce, sealed[32:], bound)


def bound_to(message, sender, receiver):
    names = "channel id priority reply_to timestamp ttl type".split()
    fields = {name: message[name] for name in names if name in message}
    return canonical({**fields, "from_key": sender.node, "to_key": receiver.node}).encode()


def seal_vectors():
    stored = vectors("seal")
    sender, receiver = (Key(bytes.fromhex(stored[name])) for name in ("from_seed", "to_seed"))
    for one in stored["messages"]:
        message = one["message"]
        check_message(message)
        same("whole seconds", moment(message["timestamp"]).microsecond, 0)
        same("addressee", message["to"], receiver.peer)
        bound = bound_to(message, sender, receiver)
        plain = bytes.fromhex(one["plain"])
        same("plain text", unpack(plain), one["payload"])
        sealed = seal(bytes.fromhex(one["entropy"]), montgomery(receiver.public), plain, bound)
        same("sealed", sealed.hex(), one["sealed"])
        same("sealed in JSON", message["payload"], {"sealed": b64(sealed)})
        same("opened", unseal(receiver, sealed, bound), plain)
        verify(sender.node, "comity/message/1", unsigned(message), message["sig"])
        same("signature over the sealed form", sender.sign("comity/message/1", unsigned(message)), message["sig"])


# Compact messages


def unpack(data):
    value, end = unpack_at(data, 0)
    same("end of MessagePack", end, len(data))
    return value


def unpack_at(data, at):
    """The MessagePack specification, without extension types."""
    marker, at = data[at], at + 1
    if marker < 0x80:
        return marker, at
    if marker >= 0xE0:
        return marker - 256, at
    if marker < 0x90:
        return unpack_map(data, at, marker & 15)
    if marker < 0xA0:
        return unpack_array(data, at, marker & 15)
    if marker < 0xC0:
        return data[at : at + (marker & 31)].decode(), at + (marker & 31)
    if marker in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[marker], at
    form = dict(zip(range(0xCA, 0xD4), "f d B H I Q b h i q".split())).get(marker)
    if form:
        return struct.unpack_from(">" + form, data, at)[0], at + struct.calcsize(form)
    form = {0xD9: "B", 0xDA: "H", 0xDB: "I", 0xDC: "H", 0xDD: "I", 0xDE: "H", 0xDF: "I"}[marker]
    (length,) = struct.unpack_from(">" + form, data, at)
    at += struct.calcsize(form)
    if marker <= 0xDB:
        return data[at : at + length].decode(), at + length
    return (unpack_array if marker <= 0xDD else unpack_map)(data, at, length)


def unpack_array(data, at, length):
    items = []
    for _ in range(length):
        item, at = unpack_at(data, at)
        items.append(item)
    return items, at


def unpack_map(data, at, length):
    members = {}
    for _ in range(length):
        key, at = unpack_at(data, at)
        same("key", isinstance(key, str) and key not in members, True)
        members[key], at = unpack_at(data, at)
    return members, at


def unzstd(data):
    name = ctypes.util.find_library("zstd") or "libzstd.so.1"
    library = ctypes.CDLL(name)
    library.ZSTD_decompress.restype = ctypes.c_size_t
    out = ctypes.create_string_buffer(256 * 1024)
    size = library.ZSTD_decompress(out, len(out), data, len(data))
    same("zstd", library.ZSTD_isError(ctypes.c_size_t(size)), 0)
    return out.raw[:size]


def fnv1a(text):
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 % 2**32
    return value


CODES = {1: "heartbeat", 2: "status", 3: "suggestion", 4: "bug", 5: "error", 0x10: "query", 0x11: "response"}
HEADER = struct.Struct("<BB16sHIIHH")


def read_compact(frame, channels):
    """A frame of one message, as the JSON message it means."""
    code, priority, sender, ttl, channel, seconds, length, flags = HEADER.unpack_from(frame)
    same("flags", flags & ~15, 0)
    at = HEADER.size
    ids = []
    for _ in range((1 if flags & 4 else 0) + (2 if flags & 8 else 0)):
        ids.append(uuid.UUID(bytes=frame[at : at + 16]))
        at += 16
    same("length", len(frame), at + length)
    payload = frame[at:]
    if flags & 2:
        payload = unzstd(payload)
    if code == 0xFF:
        return json.loads(payload)
    time = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    message = {
        "from": str(uuid.UUID(bytes=sender)),
        "to": str(ids.pop(0)) if flags & 4 else "broadcast",
        "type": CODES[code],
        "channel": channels[channel],
        "payload": {"sealed": b64(payload)} if flags & 1 else unpack(payload) if payload else None,
        "priority": ("background", "normal", "critical")[priority],
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "ttl": ttl or 60,
    }
    return message | {name: str(one) for name, one in zip(("id", "reply_to"), ids) if one.int}


def compact_vectors():
    stored = vectors("compact")
    same("header", HEADER.size, 32)
    channels = {fnv1a(name): name for name in stored["channels"]}
    for one in stored["frames"]:
        message, frame = one["message"], bytes.fromhex(one["frame"])
        check_message(message)
        same(one["name"], read_compact(frame, channels), message)
        if one["name"] == "collision":
            same("collision", channels[fnv1a(message["channel"])] in (message["channel"], None), False)
        named = channels.get(fnv1a(message["channel"])) == message["channel"]
        plain = named and not {"topic", "thread", "traceparent", "sig"} & set(message)
        same(f"{one['name']} is extended", frame[0] == 0xFF, not plain)


# TXT records


def read_txt(strings):
    pairs = [text.partition("=") for text in strings]
    found = {}
    for key, _, value in pairs:
        found.setdefault(key.lower(), value)
    plain = lambda text: re.sub(r"%([0-9A-Fa-f]{2})", lambda match: chr(int(match[1], 16)), text)
    meta = [pair.partition(":") for pair in found.get("meta", "").split(";") if ":" in pair]
    return found, {
        "id": found.get("id"),
        "name": found.get("name", ""),
        "version": found.get("v", found.get("version", "")),
        "capabilities": [plain(one) for one in found.get("caps", found.get("capabilities", "")).split(",") if one],
        "endpoint": found.get("endpoint", ""),
        "key": found.get("key"),
        "metadata": {plain(key): plain(value) for key, _, value in meta},
        "more": found.get("more") == "1",
    }


def txt_vectors():
    for one in vectors("txt")["records"]:
        sizes = [len(text.encode()) for text in one["strings"]]
        same("string length", max(sizes) <= 255, True)
        same("record length", sum(sizes) + len(sizes) <= 1300, True)
        found, read = read_txt(one["strings"])
        same("txtvers", found["txtvers"], "1")
        # A reader keeps at most 128 bytes of a name.
        read["name"] = read["name"].encode()[:128].decode("utf-8", "ignore")
        same("TXT", read, one["read"])
        said = one["said"]
        for name in ("id", "key", "endpoint", "version"):
            same(name, read[name], said[name])
        if read["more"]:
            same("the first capabilities", read["capabilities"], said["capabilities"][: len(read["capabilities"])])
            same("metadata", read["metadata"].items() <= said["metadata"].items(), True)
        else:
            same("all is said", read, said)
        for short, long in (("v", "version"), ("caps", "capabilities")):
            if long in found:
                same(long, found[long], found[short])


# Gossip


SCHEMAS = pathlib.Path(__file__).resolve().parents[1] / "schemas/gossip"
JOURNAL = {
    "task_announcement": "task_announced",
    "task_claim": "task_claimed",
    "task_progress": "task_progress",
    "task_complete": "task_completed",
    "capability_broadcast": "capability_broadcast",
    "availability_broadcast": "network_event",
    "escalation_trigger": "escalation",
    "feedback_event": "context_feedback",
    "context_request": "context_request",
}
GROUPS = {
    "CHORUS/coordination/v1": """task_announcement task_claim task_progress task_complete capability_broadcast
        availability_broadcast""",
    "hmmm/meta-discussion/v1": """meta_discussion task_help_request task_help_response coordination_request
        coordination_complete dependency_alert escalation_trigger role_announcement expertise_request expertise_response
        status_update work_allocation role_collaboration mentorship_request mentorship_response project_update
        deliverable_ready""",
    "CHORUS/context-feedback/v1": """feedback_event context_request context_response context_usage context_relevance
        slurp_event_generated slurp_event_ack slurp_context_update""",
}
PLACES = {kind: topic for topic, kinds in GROUPS.items() for kind in kinds.split()}


def validators():
    files = {file.stem: json.loads(file.read_text("utf-8")) for file in SCHEMAS.glob("*.json")}
    same("schema files", set(files), set(PLACES) | {"envelope"})
    resources = [(file["$id"], referencing.Resource.from_contents(file)) for file in files.values()]
    registry = referencing.Registry().with_resources(resources)
    for name, file in files.items():
        jsonschema.Draft202012Validator.check_schema(file)
        same("schema id", file["$id"].rpartition("/")[2], f"{name}.json")
    return {name: jsonschema.Draft202012Validator(file, registry=registry) for name, file in files.items()}


def changes(message, values):
    """Every member of the message and of its data left out, then replaced by each value."""
    for parent in ((), ("data",)):
        for name in message["data"] if parent else message:
            for value in [None, *([one] for one in values)]:
                changed = copy.deepcopy(message)
                members = changed["data"] if parent else changed
                if value is None:
                    del members[name]
                else:
                    members[name] = value[0]
                yield changed


def gossip_vectors():
    stored = vectors("gossip")
    schemas = validators()
    spelt = "Senior Developer".lower().replace(" ", "_")
    topics = {
        "role": [spelt, f"CHORUS/roles/{spelt}/v1"],
        "expertise": f"CHORUS/expertise/{spelt}/v1",
        "hierarchy": f"CHORUS/hierarchy/{spelt}/v1",
        "project": "CHORUS/projects/Web-7/coordination/v1",
        "issue": "CHORUS/meta/issue/15",
    }
    same("topics", topics, stored["topics"])
    seen = set()
    for one in stored["messages"]:
        message = one["message"]
        kind = message["type"]
        seen.add(kind)
        schemas[kind].validate(message)
        schemas["envelope"].validate(message)
        same("topic", PLACES[kind], one["topic"])
        if kind in JOURNAL and message["data"].get("status") != "failed":
            same("journal", JOURNAL[kind], one["journal"])
        verdicts = "".join("-+"[schemas[kind].is_valid(changed)] for changed in changes(message, stored["values"]))
        same(f"verdicts on changes of {kind}", verdicts, one["verdicts"])
    same("types", seen, set(PLACES))
    for one in stored["foreign"]:
        written = json.loads(one["text"])
        schemas[written["type"]].validate(written)
        same("instant", datetime.datetime.fromisoformat(one["reads"]["timestamp"]), instant(written["timestamp"]))
    for one in stored["refused"]:
        same(f"refused at {one['pointer']}", schemas[one["schema"]].is_valid(one["message"]), False)
    for one in stored["words"]:
        key, message = Key(bytes.fromhex(one["seed"])), one["message"]
        data = message["data"]
        schemas[message["type"]].validate(message)
        protobuf = b"\x08\x01\x12\x20" + key.public
        same("from", message["from"], base58(bytes([0, len(protobuf)]) + protobuf))
        claim, assignment = "claimant task_id time", "announcer assigned_to lease task_id time"
        fields = {"task_claim": claim, "task_progress": assignment}.get(message["type"], "")
        if "sig" in data:
            value = {name: data[name] for name in fields.split()}
            same("claim signature", key.sign("comity/claim/1", value), data["sig"])


def instant(text):
    """A time that may have more digits than Python reads."""
    return datetime.datetime.fromisoformat(re.sub(r"(\.\d{3})\d*", r"\1", text))


# The journal


def journal_vectors():
    """Made anew from what each entry says. `examples/journal_verify.py` reads the same as one who checks."""
    stored = vectors("journal")
    key = Key(bytes.fromhex(stored["seed"]))
    leaf = lambda entry: hashlib.sha256(b"\x00" + canonical(entry).encode()).digest()
    previous, leaves, journal = b64(bytes(32)), [], None
    for index, line in enumerate(stored["whole"]):
        entry = json.loads(line)
        same("author", entry["author"], key.node)
        made = {"author": key.node, "data": entry["data"], "index": index, "prev_hash": previous}
        made |= {"timestamp": entry["timestamp"], "type": entry["type"]}
        leaves.append(leaf(made))
        previous = made["hash"] = b64(leaves[-1])
        journal = journal or previous
        if "signature" in entry:
            head = {"journal": journal, "root": b64(merkle(leaves)), "size": len(leaves)}
            made["signature"] = key.sign("comity/journal/1", head)
        same("entry", canonical(made), line)
    checkpoint = json.loads(stored["pruned"][0])
    size, nodes = checkpoint["size"], []
    for bit in reversed(range(size.bit_length())):
        if size >> bit & 1:
            begin = size >> (bit + 1) << (bit + 1)
            nodes.append(b64(merkle(leaves[begin : begin + (1 << bit)])))
    made = {"author": key.node, "journal": journal, "nodes": nodes, "size": size, "prev_hash": b64(leaves[size - 1])}
    made["signature"] = key.sign("comity/journal/1", made)
    same("pruned", stored["pruned"], [canonical(made), *stored["whole"][size:]])
    proof, growth = stored["proof"], stored["growth"]
    index, size = proof["proof"]["index"], proof["proof"]["size"]
    same("proved entry", canonical(proof["entry"]), stored["whole"][index])
    same("audit path", proof["proof"]["path"], [b64(hash) for hash in audit_path(index, leaves[:size])])
    same("consistency", growth["path"], [b64(hash) for hash in subproof(growth["from"], leaves[: growth["to"]], True)])


# RFC 6962, sections 2.1 to 2.1.2, as they are written


def merkle(leaves):
    if len(leaves) == 1:
        return leaves[0]
    left, right = split(leaves)
    return hashlib.sha256(b"\x01" + merkle(left) + merkle(right)).digest()


def split(leaves):
    middle = 1 << (len(leaves) - 1).bit_length() - 1
    return leaves[:middle], leaves[middle:]


def audit_path(index, leaves):
    if len(leaves) == 1:
        return []
    left, right = split(leaves)
    if index < len(left):
        return [*audit_path(index, left), merkle(right)]
    return [*audit_path(index - len(left), right), merkle(left)]


def subproof(size, leaves, is_whole):
    if size == len(leaves):
        return [] if is_whole else [merkle(leaves)]
    left, right = split(leaves)
    if size <= len(left):
        return [*subproof(size, left, is_whole), merkle(right)]
    return [*subproof(size - len(left), right, False), merkle(left)]


# Federation


def federation_vectors():
    stored = vectors("federation")
    keys = {origin: Key(bytes.fromhex(seed)) for origin, seed in stored["keys"].items()}
    digest = lambda data: hashlib.sha256(data).hexdigest()
    for one in stored["requests"]:
        asks, answers = keys[one["origin"]], keys[one["destination"]]
        fields = {"origin": one["origin"], "destination": one["destination"], "key_id": asks.node, "ts": one["ts"],
                  "nonce": one["nonce"]}
        covered = fields | {"content_sha256": digest(one["body"].encode()), "method": one["method"], "uri": one["uri"]}
        header = lambda fields: " ".join(f"{name}={value}" for name, value in fields.items())
        same("request", header(fields | {"sig": asks.sign("comity/request/1", covered)}), one["header"])
        content = digest(one["answer"].encode()) if isinstance(one["answer"], str) else chain(one["answer"]).hex()
        fields |= {"origin": one["destination"], "destination": one["origin"], "key_id": answers.node}
        answered = fields | {"content_sha256": content, "request_sha256": digest(canonical(covered).encode()),
                             "status": one["status"]}
        same("answer", header(fields | {"sig": answers.sign("comity/response/1", answered)}), one["answer_header"])
    hub, prev = keys[stored["channel"].partition(":")[2]], None
    for event in stored["line"]:
        place = "seq prev_event hub_ts term hub_key_id hub_sig".split()
        said = {name: value for name, value in event.items() if name not in ["id", "sig", *place]}
        hashed = hashlib.sha256(canonical(said).encode()).digest()[:20]
        id = "evt_" + base64.b32encode(hashed).decode().lower()
        same("id", id, event["id"])
        if "sig" in event:
            same("author", keys[event["origin"]].sign("comity/event/1", said | {"id": id}), event["sig"])
        same("prev_event", event["prev_event"], prev)
        same("place", hub.sign("comity/order/1", ordered(stored["channel"], event)), event["hub_sig"])
        prev = id
    value, origin = stored["rotation"]["value"], stored["rotation"]["origin"]
    covered = {name: value[name] for name in ("key", "new_key", "until")} | {"origin": origin}
    same("rotation", keys[origin].sign("comity/rotation/1", covered), value["sig"])
    one, other = stored["proof"]["orders"]
    same("one place", (one["seq"], one["term"]), (other["seq"], other["term"]))
    assert one["id"] != other["id"]
    for placed in (one, other):
        same("proof", hub.sign("comity/order/1", ordered(stored["channel"], placed)), placed["hub_sig"])


def ordered(channel, placed):
    signed = {name: placed[name] for name in "id seq prev_event hub_ts term hub_key_id".split()}
    return signed | {"channel": channel, "hub": channel.partition(":")[2]}


def chain(events):
    so_far = bytes(32)
    for data in events:
        so_far = hashlib.sha256(so_far + data.encode()).digest()
    return so_far


# Basins


def basin_vectors():
    stored = vectors("basin")
    key = Key(bytes.fromhex(stored["seed"]))
    for one in stored["encoded"]:
        vector = encode(one["text"], one["dimension"])
        same("encoded", vector and floats(vector), one["vector"])
    for one in stored["names"]:
        same("doc_id", hashlib.sha256(one["url"].encode()).hexdigest()[:16], one["doc_id"])
    for one in stored["points"]:
        units = [unit(one["projection"], unfloats(numbers)) for numbers in one["numbers"]]
        same("units", [floats(numbers) for numbers in units], one["units"])
        product = math.fsum(a * b for a, b in zip(*map(unfloats, one["units"])))
        near("similarity", product, one["similarity"])
        near("distance", math.acos(max(-1.0, min(1.0, product))), one["distance"])
    for text in stored["updates"]:
        update = json.loads(text)
        covered = {"deleted": update.get("deleted", False), "dim": 4, "node": key.node}
        covered |= {name: update[name] for name in ("doc_id", "encoder", "version")}
        covered["metadata_sha256"] = hashlib.sha256(canonical(update["metadata"]).encode()).hexdigest()
        if "basin" in update:
            covered["vector_sha256"] = hashlib.sha256(struct.pack("<4f", *update["basin"])).hexdigest()
            for written in re.search(r'"basin":\[([^]]*)\]', text)[1].split(","):
                same("shortest decimal", digits(written), shortest(written))
        same("source_node", update["source_node"], key.node)
        same("basin", key.sign("comity/basin/1", covered), update["sig"])
    ranking = stored["ranking"]
    made = ranked(ranking["answers"])
    same("ranking", [one[:3] for one in made], [one[:3] for one in ranking["ranked"]])
    for one, other in zip(made, ranking["ranked"]):
        near("mesh_score", one[3], other[3])


def near(what, made, stored):
    """Sums of doubles depend on their order in the last digits."""
    same(what, abs(made - stored) < 2e-9, True)


def floats(numbers):
    return struct.pack(f"<{len(numbers)}f", *numbers).hex()


def unfloats(text):
    return struct.unpack(f"<{len(text) // 8}f", bytes.fromhex(text))


def encode(text, dimension):
    sums = [0] * dimension
    for token in re.findall(r"[^\W_]+", text.lower()):
        hashed = hashlib.blake2b(token.encode(), digest_size=16).digest()
        sums[int.from_bytes(hashed[:4], "little") % dimension] += 1 if hashed[4] & 1 == 0 else -1
    length = math.sqrt(sum(one * one for one in sums))
    return [one / length for one in sums] if length else None


def unit(projection, numbers):
    if projection == "simplex":
        total = sum(numbers)
        return [math.sqrt(number / total) for number in numbers]
    length = math.sqrt(sum(number * number for number in numbers))
    return [number / length for number in numbers]


def digits(written):
    """How many digits a decimal has that count."""
    mantissa = re.sub(r"[eE].*", "", written).lstrip("-")
    mantissa = mantissa.rstrip("0") if "." in mantissa else mantissa
    return len(mantissa.replace(".", "").strip("0")) or 1


def shortest(written):
    """How many digits are needed to give the same 32-bit number."""
    bits = struct.pack("<f", float(written))
    value = struct.unpack("<f", bits)[0]
    tries = (count for count in range(1, 10) if packed(f"{value:.{count - 1}e}") == bits)
    return next(tries)


def packed(written):
    try:
        return struct.pack("<f", float(written))
    except OverflowError:
        return None


def ranked(answers):
    """The best of each node for a url, or for a name of one node; the best of those, raised by the sum of the others."""
    places = {}
    for answer in answers:
        for found in answer["found"]:
            place = places.setdefault(found["url"] or (answer["node"], found["doc_id"]), {})
            score = (1 - found["distance"] / math.pi) * answer["freshness"]
            vote = (-score, found["distance"], answer["node"], found["doc_id"])
            place[answer["node"]] = min(vote, place.get(answer["node"], vote))
    ranking = []
    for name, place in places.items():
        best, *others = sorted(place.values())
        support = sum(-vote[0] for vote in others)
        score = -best[0] + (1 + best[0]) * 0.1 * support / (1 + support)
        url = name if isinstance(name, str) else ""
        ranking.append(((-score, best[1], url, best[3], best[2]), [best[2], best[3], best[1], score]))
    return [one for _, one in sorted(ranking)]


# Knowledge


def knowledge_vectors():
    """The form is that of `knowledge.rs`: the members that are there, and the name of the node that says it."""
    stored = vectors("knowledge")
    key = Key(bytes.fromhex(stored["seed"]))
    names = "id topic topic_basin content source confidence created".split()
    for entry in stored["entries"]:
        covered = {name: entry[name] for name in names if name in entry} | {"node": entry["source_node"]}
        same("knowledge", key.sign("comity/knowledge/1", covered), entry["sig"])
        for narrow in entry.get("topic_basin", []):
            same("number of 32 bits", shortest_text(narrow), repr(float(narrow)))
    same("knowledge, canonical", canonical(covered), stored["canonical"])


def shortest_text(wide):
    """The shortest decimal that reads as the same number of 32 bits."""
    narrow = lambda value: struct.pack("<f", value)
    texts = (f"{wide:.{digits}g}" for digits in range(1, 18))
    return repr(float(next(text for text in texts if narrow(float(text)) == narrow(wide))))


canonical_vectors()
identity_vectors()
signature_vectors()
card_vectors()
announce_vectors()
signal_vectors()
message_vectors()
seal_vectors()
compact_vectors()
txt_vectors()
gossip_vectors()


journal_vectors()
federation_vectors()
basin_vectors()
knowledge_vectors()
print(f"{checks} checks, all the same")
