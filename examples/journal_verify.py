#!/usr/bin/env python3
"""Verifies an exported journal, or the proof of one entry, from docs/journal.md alone. It shares no code with Comity:
the standard library, and Ed25519 from Python `cryptography`.

Usage: journal_verify.py [--told HEAD.json] FILE.jsonl [AUTHOR]
       journal_verify.py --proof PROOF.json [AUTHOR]

AUTHOR is the public key that is expected (`ed25519:…`). HEAD.json is a head that the author is known to have signed,
by which a tail is missed that was cut off cleanly. Exits with 0 when nothing is wrong; with 1 and one line that
names the first entry that is wrong, and what is wrong with it; with 2 when it cannot be read.
"""

import base64
import datetime
import hashlib
import json
import math
import re
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MEMBERS = {"author", "data", "hash", "index", "prev_hash", "timestamp", "type"}
DATA_DEPTH_MAX = 33
DATA_VALUES_MAX = 131072
LINE_MAX = 512 * 1024 + 448

# The points of small order, by which anybody's signature can be made to be right.
SMALL_ORDER = {
    bytes.fromhex(text)
    for text in (
        "00" * 32,
        "01" + "00" * 31,
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    )
}


class Wrong(Exception):
    """What is wrong, and with which entry."""

    def __init__(self, index, what):
        super().__init__(f"entry {index}: {what}")


class Torn(bytes):
    """A last line without its end."""


class Form(Exception):
    """Something that has not the form of what it should be."""


# RFC 8785


def canonical(value):
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, (int, float)):
        try:
            return number(float(value))
        except OverflowError as error:
            raise Form("not a number of JSON") from error
    if isinstance(value, str):
        return string(value)
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
    return "{" + ",".join(string(key) + ":" + canonical(value[key]) for key in keys) + "}"


SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def string(text):
    return '"' + re.sub(r'["\\\x00-\x1f]', lambda c: SHORT.get(c[0]) or f"\\u{ord(c[0]):04x}", text) + '"'


def number(value):
    """ECMAScript's Number::toString: `repr` gives the shortest digits, this puts the point."""
    if not math.isfinite(value):
        raise Form("not a number of JSON")
    if value == 0:
        return "0"
    if value < 0:
        return "-" + number(-value)
    mantissa, _, exponent = repr(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    shown = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{shown}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def parse(text):
    """JSON in which every key stands once, and that is written canonically."""

    def once(pairs):
        members = dict(pairs)
        if len(members) != len(pairs):
            raise Form("a key stands twice")
        return members

    def never(name):
        raise Form(f"{name} is no JSON")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=never)
    except (ValueError, RecursionError) as error:
        raise Form(str(error)) from error


# Hashes and signatures


def unb64(text, length):
    """Exactly so many bytes, from the one text that they have."""
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        raise Form("not base64url")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise Form("not base64url") from error
    if len(data) != length or b64(data) != text:
        raise Form("not base64url")
    return data


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def node(left, right):
    return sha256(b"\x01", left, right)


def key_of(author):
    if not isinstance(author, str) or not author.startswith("ed25519:"):
        raise Form("not an author")
    key = unb64(author[8:], 32)
    if key[:31] + bytes([key[31] & 0x7F]) in SMALL_ORDER:
        raise Form("a key of small order")
    return key


def is_signed(author, value, signature):
    content = b"comity/journal/1\x00" + canonical(value).encode()
    try:
        Ed25519PublicKey.from_public_bytes(key_of(author)).verify(unb64(signature, 64), content)
    except (InvalidSignature, ValueError, Form):
        return False
    return True


class Tree:
    """The perfect subtrees of so many leaves, the largest first."""

    def __init__(self, size=0, nodes=()):
        self.size, self.nodes = size, list(nodes)

    def push(self, leaf):
        size = self.size
        while size & 1:
            leaf = node(self.nodes.pop(), leaf)
            size >>= 1
        self.nodes.append(leaf)
        self.size += 1

    def root(self):
        root = self.nodes[-1]
        for left in reversed(self.nodes[:-1]):
            root = node(left, root)
        return root

    def copy(self):
        return Tree(self.size, self.nodes)


# Entries


def read_entry(line):
    """An entry with its right form and its right hash."""
    if len(line) > LINE_MAX:
        raise Form("too long")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise Form(str(error)) from error
    entry = parse(text)
    if not isinstance(entry, dict) or set(entry) - {"signature"} != MEMBERS:
        raise Form("not the members of an entry")
    index, time, kind = entry["index"], entry["timestamp"], entry["type"]
    if type(index) is not int or index < 0 or not isinstance(entry["data"], dict):
        raise Form("not an entry")
    if not isinstance(time, str) or not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time, re.ASCII):
        raise Form("not a time")
    try:
        if datetime.datetime.fromisoformat(time[:-1]).year < 1970:
            raise Form("a time before 1970")
    except ValueError as error:
        raise Form(str(error)) from error
    if not isinstance(kind, str) or not re.fullmatch(r"[a-z_]{1,64}", kind):
        raise Form("not a type")
    key_of(entry["author"])
    unb64(entry["prev_hash"], 32)
    if "signature" in entry:
        unb64(entry["signature"], 64)
    within_bounds(entry["data"])
    if canonical(entry) != text:
        raise Form("not canonical")
    bare = {name: value for name, value in entry.items() if name not in ("hash", "signature")}
    if entry["hash"] != b64(sha256(b"\x00", canonical(bare).encode())):
        raise Form("another hash")
    return entry


def within_bounds(data):
    """`data` is no deeper and of no more values than it may be."""
    level, depth, count = [data], 0, 1
    while level:
        depth += any(isinstance(value, (dict, list)) for value in level)
        inner = (value.values() if isinstance(value, dict) else value for value in level if isinstance(value, (dict, list)))
        level = [value for values in inner for value in values]
        count += len(level)
        if depth > DATA_DEPTH_MAX or count > DATA_VALUES_MAX:
            raise Form("nested too deep, or too many values")


def checkpoint_of(line, expected):
    """The tree, journal, last hash and author that a checkpoint stands for; None when the line is none."""
    try:
        value = parse(line.decode())
    except (Form, UnicodeDecodeError):
        return None
    if not isinstance(value, dict) or "nodes" not in value:
        return None
    size = value.get("size")
    first = size if type(size) is int else 0
    signed = {name: value.get(name) for name in ("author", "journal", "nodes", "prev_hash", "size")}
    try:
        nodes = [unb64(text, 32) for text in value["nodes"]]
        is_right = (
            canonical(value).encode() == line
            and set(value) == {*signed, "signature"}
            and len(nodes) == first.bit_count()
            and is_signed(value["author"], signed, value["signature"])
        )
    except (Form, KeyError, TypeError) as error:
        raise Wrong(first, "the checkpoint before it has not its form") from error
    if not is_right:
        raise Wrong(first, "the checkpoint before it is not what was signed")
    if expected and value["author"] != expected:
        raise Wrong(first, f"wrong author: {value['author']}")
    return Tree(size, nodes), value["journal"], value["prev_hash"], value["author"]


class Group:
    """The entries since the last signature."""

    def __init__(self, tree):
        self.before, self.leaves, self.broken = tree.copy(), [], None

    def culprit(self, head, author, signature):
        """Which of the two entries that do not follow each other is the wrong one."""
        index, said = self.broken
        at = index - 1 - self.before.size
        if at < 0:
            return index
        tree = self.before.copy()
        for number_, leaf in enumerate(self.leaves):
            tree.push(said if number_ == at else leaf)
        journal = b64(said) if index == 1 else head["journal"]
        put_back = {**head, "journal": journal, "root": b64(tree.root())}
        return index - 1 if is_signed(author, put_back, signature) else index


def verify(lines, expected, told=None):
    """Goes through all lines, without their ends; which entries there are, whose, and the last signed head. They are
    held against a head that the author signed."""
    tree, journal, prev, author = Tree(), None, b64(bytes(32)), expected
    lines = iter(lines)
    line = next(lines, None)
    checkpoint = line is not None and checkpoint_of(line, expected)
    if checkpoint:
        tree, journal, prev, author = checkpoint
        line = next(lines, None)
    group, head, signed, first, is_met = Group(tree), None, tree.size, tree.size, False
    if first and told and told["size"] == first:
        is_met = b64(tree.root()) == told["root"]
    while line is not None:
        due = tree.size
        if isinstance(line, Torn):
            raise Wrong(due, "torn: the last line has no end, as when a node is stopped while it writes")
        try:
            entry = read_entry(line)
        except Form as error:
            raise Wrong(due, f"changed: {error}") from error
        author = author or entry["author"]
        if entry["author"] != author:
            raise Wrong(due, f"wrong author: {entry['author']}")
        if entry["index"] < due:
            raise Wrong(due, f"reordered: entry {entry['index']} stands in its place")
        if entry["index"] > due:
            raise Wrong(due, elsewhere(lines, due, entry["index"]))
        if entry["prev_hash"] != prev:
            if group.broken or due == 0:
                raise Wrong(due, "changed: it follows another entry")
            group.broken = (due, unb64(entry["prev_hash"], 32))
        prev, journal = entry["hash"], journal or entry["hash"]
        leaf = unb64(entry["hash"], 32)
        tree.push(leaf)
        group.leaves.append(leaf)
        if "signature" in entry:
            head = {"journal": journal, "root": b64(tree.root()), "size": tree.size}
            if group.broken:
                raise Wrong(group.culprit(head, author, entry["signature"]), "changed")
            if not is_signed(author, head, entry["signature"]):
                raise Wrong(due, f"bad signature: nothing from {signed} on up to it is vouched for")
            is_met = is_met or bool(told and head["size"] == told["size"] and head["root"] == told["root"])
            group, signed = Group(tree), tree.size
        line = next(lines, None)
    if group.broken:
        raise Wrong(group.broken[0], "changed: it follows another entry")
    if signed < tree.size:
        raise Wrong(signed, "unsigned: no signature follows it, as when a node is stopped while it writes")
    if told:
        if journal and journal != told["journal"]:
            raise Wrong(first, "forked: the author has signed another journal")
        if tree.size < told["size"]:
            raise Wrong(tree.size, f"cut off: the author has signed {told['size']} entries")
        if told["size"] >= max(first, 1) and not is_met:
            raise Wrong(told["size"] - 1, "forked: the author has signed another journal of this length")
    return range(first, tree.size), author, head


def read_head(text, expected):
    """A head that was told, if its author signed it."""
    head = parse(text)
    signed = {name: head[name] for name in ("journal", "root", "size")}
    if (expected and head["author"] != expected) or not is_signed(head["author"], signed, head["signature"]):
        raise Form("the head is not the author's")
    return head


def elsewhere(lines, due, found):
    """Whether an entry that is not where it should be comes later."""
    for line in lines:
        try:
            if read_entry(line)["index"] == due:
                return f"reordered: entry {found} stands in its place"
        except Form:
            pass
    return f"missing: the next that is there is {found}"


def lines_of(file):
    """The lines of a file, without their ends."""
    for line in file:
        yield line[:-1] if line.endswith(b"\n") else Torn(line)


def verify_proof(text, expected):
    """Checks the proof of one entry (RFC 9162, section 2.1.3.2); the entry."""
    value = parse(text)
    entry = read_entry(canonical(value["entry"]).encode())
    head, proof = value["head"], value["proof"]
    author = expected or head["author"]
    signed = {name: head[name] for name in ("journal", "root", "size")}
    if entry["author"] != author or head["author"] != author or not is_signed(author, signed, head["signature"]):
        raise Wrong(entry["index"], "the head is not the author's")
    if proof["index"] != entry["index"] or proof["size"] != head["size"] or entry["index"] >= head["size"]:
        raise Wrong(entry["index"], "the proof is of another entry or tree")
    at, last, root = proof["index"], proof["size"] - 1, unb64(entry["hash"], 32)
    for beside in (unb64(text, 32) for text in proof["path"]):
        if last == 0:
            raise Wrong(entry["index"], "the proof is too long")
        if at & 1 or at == last:
            root = node(beside, root)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            root = node(root, beside)
        at, last = at >> 1, last >> 1
    if last or b64(root) != head["root"]:
        raise Wrong(entry["index"], "the proof does not lead to the root")
    return entry


def main(words):
    is_proof = words[:1] == ["--proof"]
    words = words[1:] if is_proof else words
    told = words[1] if words[:1] == ["--told"] and len(words) > 1 else None
    words = words[2:] if told else words
    if len(words) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 2
    expected = words[1] if len(words) == 2 else None
    try:
        if told:
            with open(told, encoding="utf-8") as file:
                told = read_head(file.read(), expected)
        with open(words[0], "rb") as file:
            if is_proof:
                entry = verify_proof(file.read().decode(), expected)
                print(f"entry {entry['index']} of {entry['author']} is in its journal")
            else:
                entries, author, _ = verify(lines_of(file), expected or (told and told["author"]), told)
                shown = f"entries {entries[0]} to {entries[-1]}" if entries else "there is no entry"
                print(f"nothing is wrong: {shown}" + (f" of {author}" if author else ""))
                if told and told["size"] < entries.start:
                    print(f"the head of {told['size']} entries says nothing of these: those before were dropped")
    except Wrong as wrong:
        print(wrong)
        return 1
    except (OSError, Form, KeyError, TypeError, ValueError) as error:
        print(f"{words[0]}: {error!r}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
