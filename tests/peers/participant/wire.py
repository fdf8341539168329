"""What goes over the wire: canonical JSON, keys and signatures, the header of a request, the events of a channel."""
import base64
import hashlib
import json
import math
import re
import secrets
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

HEADER = "X-SMCP-Authorization"
REQUEST, RESPONSE, EVENT, ORDER = "comity/request/1", "comity/response/1", "comity/event/1", "comity/order/1"
ROTATION, CARD = "comity/rotation/1", "comity/card/1"
EVENT_MAX, BATCH_MAX, BODY_MAX, DEPTH_MAX = 65535, 50, 1 << 20, 32
CREATED, INVITED, JOINED = "naomi:channel.created", "naomi:member.invited", "naomi:member.joined"
LEFT, REMOVED = "naomi:member.left", "naomi:member.removed"

# What the hub adds to an event. `attested` is no part of it: it is content, so that nobody can take an author's
# signature off an event and pass it on as one of the original design.
HUB_MEMBERS = ("seq", "prev_event", "hub_ts", "term", "hub_key_id", "hub_sig")
AUTHOR_MEMBERS = ("channel", "type", "origin", "key_id", "author_seq", "origin_server_ts", "data", "prev_seen")
ORDER_MEMBERS = ("channel", "hub_key_id", "hub_ts", "id", "prev_event", "seq", "term")

# The y of the points of small order, by which anybody's signature can be made to be right.
PRIME = 2**255 - 19
SMALL_ORDER = {
    0, 1, PRIME - 1,
    int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
    int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
}


class Problem(Exception):
    """Why something is refused, as the protocol names it."""

    def __init__(self, status, code, detail, pointer=None, retry_after=None):
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.pointer, self.retry_after = pointer, retry_after

    def body(self):
        extra = {"pointer": self.pointer} if self.pointer is not None else {}
        return {"type": "about:blank", "title": self.code.replace("_", " "), "status": self.status,
                "code": self.code, "detail": self.detail} | extra


def bad(detail, pointer=None):
    return Problem(400, "bad_request", detail, pointer)


def now_ms():
    return time.time_ns() // 1_000_000


# JSON


def parse(data, depth_max=DEPTH_MAX):
    """JSON in which every key stands once, no deeper than it may be."""

    def once(pairs):
        members = dict(pairs)
        if len(members) != len(pairs):
            raise bad("a key stands twice")
        return members

    def never(name):
        raise bad(f"{name} is no JSON")

    try:
        value = json.loads(data.decode() if isinstance(data, bytes) else data, object_pairs_hook=once,
                           parse_constant=never)
    except (ValueError, RecursionError) as error:
        raise bad("this is not JSON in UTF-8") from error
    if depth(value) > depth_max:
        raise bad(f"deeper than {depth_max}")
    return value


def depth(value):
    level, count = [value], 0
    while level := [v for v in level if isinstance(v, (dict, list))]:
        level = [inner for v in level for inner in (v.values() if isinstance(v, dict) else v)]
        count += 1
    return count


def canonical(value):
    """RFC 8785, as bytes."""
    try:
        return _canonical(value).encode()
    except (UnicodeEncodeError, OverflowError, RecursionError) as error:
        raise bad("this has no canonical form") from error


def _canonical(value):
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(_canonical(name) + ":" + _canonical(value[name]) for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    if value is None or isinstance(value, (bool, str)):
        return json.dumps(value, ensure_ascii=False)
    return _number(float(value))


def _number(value):
    """The shortest digits are those of `repr`; ECMAScript only sets the point elsewhere."""
    if not math.isfinite(value):
        raise bad("not a number of JSON")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits, point = whole + fraction, len(whole) + int(exponent or 0)
    stripped = digits.lstrip("0")
    point -= len(digits) - len(stripped)
    digits = stripped.rstrip("0")
    if 0 < point <= 21:
        text = digits.ljust(point, "0")
        text = text if len(text) == point else text[:point] + "." + text[point:]
    elif -6 < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        text = digits[0] + ("." + digits[1:] if len(digits) > 1 else "") + f"e{point - 1:+d}"
    return sign + text


def dump(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# Keys and signatures


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text, length):
    """So many bytes, from either alphabet, padded or not."""
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9+/_-]*={0,2}", text):
        raise bad("not base64")
    bare = text.rstrip("=").translate(str.maketrans("+/", "-_"))
    try:
        data = base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
    except ValueError as error:
        raise bad("not base64") from error
    # The last letter has spare bits: only zeros there, else one signature had several texts.
    if len(data) != length or b64(data) != bare:
        raise bad(f"not {length} bytes of base64")
    return data


def key_bytes(key_id):
    if not isinstance(key_id, str) or not key_id.startswith("ed25519:"):
        raise bad("not a key id")
    return unb64(key_id[8:], 32)


def same_key(one, other):
    return key_bytes(one) == key_bytes(other)


def verify(key_id, context, fields, sig):
    """Strictly: no key and no commitment of small order or unreduced."""
    try:
        key, signature = key_bytes(key_id), unb64(sig, 64)
    except Problem:
        return False
    return verify_raw(key, context.encode() + b"\0" + canonical(fields), signature)


def verify_raw(key, message, signature):
    for point in (key, signature[:32]):
        y = int.from_bytes(point, "little") % 2**255
        if y >= PRIME or y in SMALL_ORDER:
            return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def why_not(key_id, sig, readings):
    """For a signature that does not fit: which other reading of the text it would fit, if any. Nothing is accepted
    by it; it tells people on which side to look."""
    try:
        key, signature = key_bytes(key_id), unb64(sig, 64)
    except Problem as problem:
        return problem.detail
    for label, context, fields in readings:
        for how, joint in (("", b"\0"), (", without the zero byte", b""), (", with a line end for the zero", b"\n")):
            if verify_raw(key, context.encode() + joint + canonical(fields), signature):
                return f"it would fit {label}{how}"
    return "no reading known fits"


class Key:
    """The key of this origin."""

    def __init__(self, secret=None):
        self.secret = Ed25519PrivateKey.from_private_bytes(secret) if secret else Ed25519PrivateKey.generate()
        self.id = "ed25519:" + b64(self.secret.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw))

    def raw(self):
        return self.secret.private_bytes(
            serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())

    def sign(self, context, fields):
        return b64(self.secret.sign(context.encode() + b"\0" + canonical(fields)))


# Names

ORIGIN = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
CHANNEL = re.compile(r"!([^:/?#\s\x00-\x1f]{1,200}):(.+)", re.S)


def is_origin(text):
    return isinstance(text, str) and len(text) <= 260 and bool(ORIGIN.fullmatch(text)) and not text.endswith(":443")


def hub_of(channel):
    match = CHANNEL.fullmatch(channel) if isinstance(channel, str) else None
    if not match or not is_origin(match[2]):
        raise bad("not a channel id", "/channel")
    return match[2]


# Signed requests


FIELD = re.compile(r'[ \t,]*([A-Za-z0-9_.-]+)=("(?:[^"\\]|\\.)*"|[^\s,"]+)(?=[ \t,]|$)')


def parse_authorization(text):
    """The fields of the header, their names in lower case."""
    fields, at, text = {}, 0, text.strip(" \t,")
    while at < len(text):
        match = FIELD.match(text, at)
        if not match:
            raise bad(f"{HEADER} has not its form")
        name, value = match[1].lower(), match[2]
        if name in fields:
            raise bad(f"{HEADER} has {name} twice")
        fields[name] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value[0] == '"' else value
        at = match.end()
    return fields


def authorization(**fields):
    return " ".join(f"{name}={value}" for name, value in fields.items())


def sha256_hex(data):
    return hashlib.sha256(data).hexdigest()


def request_fields(origin, destination, key_id, ts, nonce, method, uri, body):
    return {"content_sha256": sha256_hex(body), "destination": destination, "key_id": key_id,
            "method": method.upper(), "nonce": nonce, "origin": origin, "ts": ts, "uri": uri}


def response_fields(origin, key_id, ts, status, content_sha256, request):
    """`request` is what the request signed: by its hash the answer holds method, path and body fast."""
    return {"content_sha256": content_sha256, "destination": request["origin"], "key_id": key_id,
            "nonce": request["nonce"], "origin": origin, "request_sha256": sha256_hex(canonical(request)),
            "status": status, "ts": ts}


def response_readings(fields, request, request_body):
    def reading(label, **other):
        return label, RESPONSE, fields | other

    signed = REQUEST.encode() + b"\0" + canonical(request)
    return [
        reading("request_sha256 over the request's body", request_sha256=sha256_hex(request_body)),
        reading("request_sha256 over context, zero and the request's fields", request_sha256=sha256_hex(signed)),
        reading("ts as text", ts=str(fields["ts"])),
        reading("status as text", status=str(fields["status"])),
        ("the fields without request_sha256", RESPONSE, {k: v for k, v in fields.items() if k != "request_sha256"}),
        reading("origin and destination exchanged", origin=fields["destination"], destination=fields["origin"]),
    ]


def new_nonce():
    return b64(secrets.token_bytes(16))


# Hash chain of a streamed answer: each event's data after the hash so far.


def chain(so_far, data):
    return hashlib.sha256(so_far + data).digest()


# Events


def content(event):
    """What the id is made of: all but `id`, `sig` and what the hub adds."""
    return {k: v for k, v in event.items() if k not in ("id", "sig") and k not in HUB_MEMBERS}


def content_id(event):
    digest = hashlib.sha256(canonical(content(event))).digest()[:20]
    return "evt_" + base64.b32encode(digest).decode().lower()


def signed_part(event):
    """What an author signs: its event, the id with it, without `sig`."""
    return {k: v for k, v in event.items() if k != "sig" and k not in HUB_MEMBERS}


def order_fields(event, hub):
    return {k: event[k] for k in ORDER_MEMBERS if k in event} | {"hub": hub}


def make_event(key, origin, channel, kind, author_seq, data, prev_seen=None, ts=None):
    event = {"channel": channel, "type": kind, "origin": origin, "key_id": key.id, "author_seq": author_seq,
             "origin_server_ts": ts or now_ms(), "data": data}
    if prev_seen:
        event["prev_seen"] = prev_seen
    return finish_event(key, event)


def finish_event(key, event):
    event = {"id": content_id(event)} | event
    return event | {"sig": key.sign(EVENT, signed_part(event))}


def order_event(key, hub, event, seq, prev_event, term, ts=None):
    event = event | {"seq": seq, "prev_event": prev_event, "hub_ts": ts or now_ms(), "term": term, "hub_key_id": key.id}
    return event | {"hub_sig": key.sign(ORDER, order_fields(event, hub))}


def size(event):
    return len(canonical({k: v for k, v in event.items() if k not in HUB_MEMBERS}))


def check_form(event, is_ordered):
    """That the members of an event are what they must be."""

    def need(name, kind, is_right=lambda value: True):
        if name not in event:
            raise bad(f"{name} is missing", "/" + name)
        if type(event[name]) is not kind or not is_right(event[name]):
            raise bad(f"{name} is not right", "/" + name)

    if not isinstance(event, dict):
        raise bad("an event is an object", "/event")
    need("id", str, lambda text: 0 < len(text) <= 255)
    need("channel", str, hub_of)
    need("type", str, lambda text: 0 < len(text) <= 255)
    need("origin", str, is_origin)
    need("origin_server_ts", int, lambda number: 0 <= number <= 2**53)
    if "data" not in event:
        raise bad("data is missing", "/data")
    if "attested" in event and (event["attested"] is not True or "sig" in event):
        raise bad("attested, and signed by its author", "/attested")
    if "attested" not in event:
        need("key_id", str, key_bytes)
        need("author_seq", int, lambda number: 1 <= number <= 2**53)
        need("sig", str)
    if not isinstance(event.get("prev_seen"), (str, type(None))):
        raise bad("prev_seen is not right", "/prev_seen")
    if is_ordered:
        need("seq", int, lambda number: 1 <= number <= 2**53)
        need("hub_ts", int, lambda number: 0 <= number <= 2**53)
        need("term", int, lambda number: 0 <= number <= 2**53)
        need("hub_key_id", str, key_bytes)
        need("hub_sig", str)
        if event["seq"] == 1 and event.get("prev_event") is None:
            need("prev_event", type(None))
        else:
            need("prev_event", str)
    if size(event) > EVENT_MAX:
        raise Problem(413, "too_large", f"an event has at most {EVENT_MAX} bytes")


def event_readings(event):
    listed = {k: event[k] for k in AUTHOR_MEMBERS if k in event}
    bare = {k: v for k, v in content(event).items() if v is not None}
    return [
        ("sig over the event without id", EVENT, content(event)),
        ("sig over the listed members alone", EVENT, listed | {"id": event["id"]}),
        ("sig over the listed members alone, without id", EVENT, listed),
        ("sig over the event without its nulls", EVENT, bare | {"id": event["id"]}),
        ("sig over the event without its nulls and id", EVENT, bare),
        ("sig over the id alone", EVENT, {"id": event["id"]}),
    ]


def order_readings(event, hub):
    fields = order_fields(event, hub)
    bare = {k: v for k, v in fields.items() if v is not None}
    return [
        ("hub_sig without a prev_event that is null", ORDER, bare),
        ("hub_sig without hub", ORDER, {k: v for k, v in fields.items() if k != "hub"}),
        ("hub_sig with the hub's key for hub", ORDER, fields | {"hub": event["hub_key_id"]}),
    ]
