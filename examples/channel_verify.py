#!/usr/bin/env python3
"""Verifies an exported log of a federated channel, from the text of the protocol alone. It shares no code with Comity:
the standard library, and Ed25519 from Python `cryptography`.

Usage: channel_verify.py [--head SEQ:ID] [--gaps] [--unbound] FILE.jsonl

The first line of FILE is an object that says what is known beforehand; members that are not named here are ignored:

  channel   the channel's id, `!name:origin`; the origin is its hub
  keys      {origin: [key, …]}: the keys by which each author and the hub are known. A key is `ed25519:…`, or
            {"key": "ed25519:…", "until": time} for one that was given up then (RFC 3339, or Unix milliseconds)
  member    the origin whose view this is. Needed where the log does not begin with seq 1: it begins with that
            member's own `naomi:member.joined`, ends with its own `left` or `removed`, and may go on with a later joined
  after     {"seq", "id"}: the event before the first, where only a part was exported

Every further line is one event as it goes over the wire, with what the hub added to it.

  --head SEQ:ID  a head that the hub is known to have told. Only by it is a tail missed that was cut off cleanly.
  --gaps         an `author_seq` that is left out is only noted. The line of the hub holds, but an event is not there:
                 it was kept back, or refused.
  --unbound      an event of the original design (`attested`) whose id is not that of its content is only noted. No
                 signature says what is in it.

Exits with 0 when nothing is wrong; with 1 and one text that names the first line that is wrong, and what is wrong with
it; with 2 when it cannot be read.
"""

import argparse
import base64
import datetime
import hashlib
import json
import math
import re
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

# What the hub adds to an event. What remains without `id` and `sig` is what the id is made of.
HUB_MEMBERS = {"seq", "prev_event", "hub_ts", "term", "hub_key_id", "hub_sig"}
ORDER_MEMBERS = ("channel", "hub_key_id", "hub_ts", "id", "prev_event", "seq", "term")
JOINED, LEFT, REMOVED = "naomi:member.joined", "naomi:member.left", "naomi:member.removed"
LINE_MAX, EVENT_MAX = 1 << 20, 65535

# The y of the points of small order, by which anybody's signature can be made to be right.
PRIME = 2**255 - 19
ORDER_8 = (
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
)
SMALL_ORDER = {0, 1, PRIME - 1} | {int.from_bytes(bytes.fromhex(text), "little") for text in ORDER_8}


class Wrong(Exception):
    """What is wrong, and with which line."""

    def __init__(self, line, what):
        super().__init__(f"line {line}: {what}")


class Form(Exception):
    """Something that has not the form of what it should be."""


# JSON and RFC 8785


def parse(data):
    def once(pairs):
        members = dict(pairs)
        if len(members) != len(pairs):
            raise Form("a key stands twice")
        return members

    def never(name):
        raise Form(f"{name} is no JSON")

    try:
        return json.loads(data.decode(), object_pairs_hook=once, parse_constant=never)
    except (ValueError, RecursionError) as error:
        raise Form("not JSON in UTF-8") from error


def canonical(value):
    try:
        return text_of(value).encode()
    except (UnicodeEncodeError, OverflowError, RecursionError) as error:
        raise Form("it has no canonical form") from error


def text_of(value):
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(text_of(name) + ":" + text_of(value[name]) for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(text_of, value)) + "]"
    if value is None or isinstance(value, (bool, str)):
        return json.dumps(value, ensure_ascii=False)
    return number(float(value))


def number(value):
    """The shortest digits are those of `repr`; ECMAScript only sets the point elsewhere."""
    if not math.isfinite(value):
        raise Form("not a number of JSON")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0) - len(whole + fraction) + len((whole + fraction).lstrip("0"))
    digits = (whole + fraction).strip("0")
    if 0 < point <= 21:
        digits = digits.ljust(point, "0")
        return sign + digits[:point] + ("." + digits[point:] if digits[point:] else "")
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    return sign + digits[0] + ("." + digits[1:] if digits[1:] else "") + f"e{point - 1:+d}"


# Keys and signatures


def unb64(text, length):
    """So many bytes, from either alphabet, padded or not."""
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9+/_-]*={0,2}", text):
        raise Form("not base64")
    bare = text.rstrip("=").replace("+", "-").replace("/", "_")
    try:
        data = base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
    except ValueError as error:
        raise Form("not base64") from error
    if len(data) != length or base64.urlsafe_b64encode(data).decode().rstrip("=") != bare:
        raise Form(f"not {length} bytes of base64")
    return data


def key_bytes(text):
    if not isinstance(text, str) or not text.startswith("ed25519:"):
        raise Form("not a key")
    return unb64(text[8:], 32)


def is_signed(key, context, fields, signature):
    signature = unb64(signature, 64)
    for point in (key, signature[:32]):
        y = int.from_bytes(point, "little") % 2**255
        if y >= PRIME or y in SMALL_ORDER:
            return False
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, context.encode() + b"\0" + canonical(fields))
    except (InvalidSignature, ValueError):
        return False
    return True


def moment(value):
    """Unix milliseconds of a time."""
    if type(value) is int:
        return value
    try:
        return int(datetime.datetime.fromisoformat(value).timestamp() * 1000)
    except (TypeError, ValueError) as error:
        raise Form("not a time") from error


# The log


class Known:
    """What the first line says."""

    def __init__(self, line):
        value = parse(line)
        if not isinstance(value, dict) or not isinstance(value.get("keys"), dict):
            raise Form("not an object with channel and keys")
        self.channel, self.member = value.get("channel"), value.get("member")
        match = re.fullmatch(r"!([^:]+):(.+)", self.channel) if isinstance(self.channel, str) else None
        if not match:
            raise Form("not a channel")
        self.hub, self.keys, after = match[2], {}, value.get("after")
        for origin, given in value["keys"].items():
            if not isinstance(given, list):
                raise Form(f"the keys of {origin} are no list")
            self.keys[origin] = [
                (key_bytes(entry["key"]), moment(entry.get("until", 2**63))) if isinstance(entry, dict)
                else (key_bytes(entry), 2**63) for entry in given
            ]
        self.after = (after["seq"], after["id"]) if after else None
        # Whose key could not be had: what they sign is checked by the key that they name, and whose that is, is not.
        self.unverified = set()

    def key_of(self, origin, key_id, ms):
        """The key's bytes, if it was that origin's at that time."""
        key = key_bytes(key_id)
        if origin != self.hub and self.keys.get(origin) == []:
            self.unverified.add(origin)
            return key
        limits = [until for known, until in self.keys.get(origin, []) if known == key]
        if not limits:
            raise Form(f"{key_id} is not known as a key of {origin}")
        if ms >= max(limits):
            raise Form(f"{origin} had given the key {key_id} up")
        return key


def read_event(known, line, notes, is_unbound_right):
    """An event that has its form, that is its author's, and whose place is the hub's."""
    if len(line) > LINE_MAX:
        raise Form("too long")
    event = parse(line)
    if not isinstance(event, dict):
        raise Form("not an event")
    is_attested = "attested" in event
    kinds = {"id": str, "channel": str, "type": str, "origin": str, "origin_server_ts": int, "seq": int, "hub_ts": int,
             "term": int, "hub_key_id": str, "hub_sig": str}
    kinds |= {} if is_attested else {"key_id": str, "author_seq": int, "sig": str}
    for name, kind in kinds.items():
        if type(event.get(name)) is not kind:
            raise Form(f"{name} is missing, or not right")
    if "data" not in event or "prev_event" not in event:
        raise Form("data or prev_event is missing")
    if is_attested and (event["attested"] is not True or "sig" in event):
        raise Form("attested, and signed by its author")
    if event["channel"] != known.channel:
        raise Form(f"an event of {event['channel']}")
    own = {name: value for name, value in event.items() if name not in HUB_MEMBERS}
    if len(canonical(own)) > EVENT_MAX:
        raise Form("too large")
    content = {name: value for name, value in own.items() if name not in ("id", "sig")}
    ident = "evt_" + base64.b32encode(hashlib.sha256(canonical(content)).digest()[:20]).decode().lower()
    if ident != event["id"] and not is_attested:
        raise Form(f"changed: the id of its content is {ident}")
    if ident != event["id"] and not is_unbound_right:
        raise Form("no signature says what is in it (attested, and the id is not that of its content)")
    if ident != event["id"]:
        notes.append(f"seq {event['seq']}: no signature says what is in it")
    if not is_attested:
        key = known.key_of(event["origin"], event["key_id"], event["origin_server_ts"])
        if not is_signed(key, "comity/event/1", content | {"id": event["id"]}, event["sig"]):
            raise Form(f"bad signature of {event['origin']}")
    order = {name: event[name] for name in ORDER_MEMBERS} | {"hub": known.hub}
    key = known.key_of(known.hub, event["hub_key_id"], event["hub_ts"])
    if not is_signed(key, "comity/order/1", order, event["hub_sig"]):
        raise Form("bad signature of the hub")
    return event


class Log:
    """The line of events, as far as it has been read."""

    def __init__(self, known, is_gap_right, notes):
        self.known, self.is_gap_right, self.notes = known, is_gap_right, notes
        self.first, self.last, self.is_over = None, None, False
        # The line and the number of what has come, and what authors had seen that has not come before their event.
        self.ids, self.bare_ids, self.authors, self.seen = {}, set(), {}, {}

    def add(self, number, event):
        seq, before, known = event["seq"], event["prev_event"], self.known
        is_own_join = event["type"] == JOINED and event["origin"] == known.member
        due = self.last and (self.last["seq"] + 1, self.last["id"]) or known.after and (known.after[0] + 1, known.after[1])
        if self.is_over and not is_own_join:
            raise Wrong(number, f"{known.member} was no member any more")
        if not due:
            if (seq != 1 or before is not None) and not is_own_join:
                raise Wrong(number, f"the log begins with seq {seq}: those before are missing")
            if is_own_join and event.get("author_seq", 1) != 1:
                raise Wrong(number, f"the log begins with a later membership of {known.member}")
        elif (event["origin"], event["id"]) in self.ids:
            raise Wrong(number, f"the event of line {self.ids[event['origin'], event['id']]} again")
        elif self.is_over and seq > due[0]:
            self.authors = {known.member: self.authors.get(known.member)}
        elif seq != due[0]:
            raise Wrong(number, f"seq {seq} stands where {due[0]} is due: " + ("missing" if seq > due[0] else "reordered"))
        elif before != due[1]:
            raise Wrong(number, f"it follows {before}, and before it stands {due[1]}")
        if self.last and event["term"] < self.last["term"]:
            raise Wrong(number, f"term {event['term']} after {self.last['term']}")
        if event["id"] in self.seen:
            raise Wrong(self.seen[event["id"]], f"its author had seen {event['id']}, which comes later")
        self.count_author(number, event)
        self.ids[event["origin"], event["id"]] = number
        self.bare_ids.add(event["id"])
        if event.get("prev_seen") and event["prev_seen"] not in self.bare_ids:
            self.seen.setdefault(event["prev_seen"], number)
        data = event["data"] if isinstance(event["data"], dict) else {}
        removed = event["type"] == REMOVED and known.member in [data.get(n) for n in ("member", "origin", "invitee")]
        is_own = removed and event["origin"] == known.hub or event["type"] == LEFT and event["origin"] == known.member
        self.is_over = bool(known.member and known.member != known.hub and is_own)
        self.last, self.first = event, self.first or event

    def count_author(self, number, event):
        if "author_seq" not in event:
            return
        origin, given = event["origin"], event["author_seq"]
        is_whole = self.first is None and event["seq"] == 1 or self.first and self.first["seq"] == 1
        due = (self.authors.get(origin) or (0 if is_whole else given - 1)) + 1
        if given < due:
            raise Wrong(number, f"author_seq {given} of {origin} again, or late: {due} is due")
        if given > due:
            what = f"author_seq {given} of {origin} where {due} is due: the hub has left out what came before"
            if not self.is_gap_right:
                raise Wrong(number, what)
            self.notes.append(f"seq {event['seq']}: {what}")
        self.authors[origin] = given


def verify(lines, words, notes):
    """Goes through all lines; the log."""
    lines, log, head = iter(lines), None, None
    if words.head:
        seq, _, ident = words.head.partition(":")
        head = int(seq), ident
    try:
        known = Known(next(lines, b""))
    except (Form, KeyError, TypeError) as error:
        raise Wrong(1, f"what is known beforehand: {error}") from error
    log, number = Log(known, words.gaps, notes), 1
    for number, line in enumerate(lines, 2):
        try:
            event = read_event(known, line, notes, words.unbound)
        except Form as error:
            raise Wrong(number, str(error)) from error
        log.add(number, event)
        if head and event["seq"] == head[0] and event["id"] != head[1]:
            raise Wrong(number, f"the hub has told {head[1]} as seq {head[0]}")
    if head and (log.last is None or log.last["seq"] < head[0]):
        raise Wrong(number + 1, f"cut off: the hub has told seq {head[0]}")
    notes += [f"no key of {origin} is known: whose its events are is the hub's word" for origin in sorted(known.unverified)]
    return log


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--head")
    parser.add_argument("--gaps", action="store_true")
    parser.add_argument("--unbound", action="store_true")
    parser.add_argument("file")
    words, notes = parser.parse_args(), []
    try:
        with open(words.file, "rb") as file:
            log = verify((line.rstrip(b"\n") for line in file), words, notes)
    except Wrong as wrong:
        print(wrong)
        return 1
    except (OSError, ValueError) as error:
        print(f"{words.file}: {error}", file=sys.stderr)
        return 2
    shown = f"seq {log.first['seq']} to {log.last['seq']}, head {log.last['id']}" if log.first else "there is no event"
    print(f"nothing is wrong: {shown} of {log.known.channel}")
    for note in notes:
        print(f"note: {note}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
