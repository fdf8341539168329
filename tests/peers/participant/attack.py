"""Requests that break one rule each, and a few that only look as if they did."""
import json
from urllib.parse import urlsplit

import wire
from client import readable, stamp
from node import API
from wire import HEADER, dump, now_ms

NAMES = (
    # Of the request itself.
    "wrong-destination old-ts future-ts reused-nonce repeat unknown-key changed-body changed-path changed-query "
    "changed-method changed-sig header-twice name-twice no-header no-ts no-nonce no-sig no-key forged-origin "
    "bad-json duplicate-key "
    # Right, but unusual: these must be accepted.
    "quoted-header padded-sig txn-same "
    # Of a `send`.
    "txn-changed forged-author other-body-origin other-channel-hub wrong-id bad-event-sig wrong-prev duplicate-seq "
    "author-gap split-history big-event deep-json many-events "
    # Of what is to be asked by members, invitees and callers alone.
    "other-inviter other-invitee unknown-channel send-unknown-channel unknown-target "
    "call-changed").split()


class Attack:
    """One attack on `target`. It yields what it saw, the last of it what counts."""

    def __init__(self, node, target, channel=None, third="gamma.test", method=None, path=None, **_):
        self.node, self.target, self.channel, self.third = node, target, channel or f"!nothing:{target}", third
        self.key, self.method, self.path = node.key, method, path

    def run(self, name):
        if name not in NAMES:
            raise SystemExit(f"the attacks are: {' '.join(NAMES)}")
        own = getattr(self, name.replace("-", "_"), None)
        return own() if own else self.on_request(name)

    def go(self, method, path, value=None, body=None, again=None, sent=None, header=None, key=None, **fields):
        """Sends a request. `fields` are signed instead of the right ones, `sent` goes out instead of what was signed,
        `header` makes the lines of the header, `again` is what was signed before."""
        node = self.node
        pin = node.client.pin(self.target)
        prefix = urlsplit(pin["endpoint"]).path
        body = body if body is not None else dump(value).encode() if value is not None else b""
        self.signed = again or node.client.signed(self.target, method, prefix + path, body, fields, key)
        signed, named = self.signed
        lines = header(named) if header else [wire.authorization(**named)]
        sent = {"method": method, "path": path, "body": body} | (sent or {})
        status, headers, data = node.client.exchange(pin["endpoint"], sent["method"], prefix + sent["path"],
                                                     [(HEADER, line) for line in lines], sent["body"])
        # An answer is to the request as it came.
        signed = signed | {"method": sent["method"], "uri": prefix + sent["path"],
                           "content_sha256": wire.sha256_hex(sent["body"])}
        proof = node.client.prove(self.target, status, headers.get_all(HEADER), data, signed, sent["body"])
        return {"status": status, "body": readable(data), "answer": proof, "retry_after": headers.get("Retry-After"),
                "type": headers.get("Content-Type")}

    def ask(self, **how):
        """A harmless request, in which only `how` is wrong."""
        method = self.method or "POST"
        value = {"channels": [self.channel]} if method == "POST" else None
        return self.go(method, self.path or API + ("/heads" if value else "/health"), value, **how)

    def send(self, events, txn=None, **how):
        body = {"origin": self.node.origin, "origin_server_ts": now_ms(), "events": events}
        return self.go("PUT", f"{API}/send/{txn or wire.new_nonce()}", body | how.pop("value", {}), **how)

    def on_request(self, name):
        def without(field):
            return {"header": lambda named: [wire.authorization(**{k: v for k, v in named.items() if k != field})]}

        def quoted(named):
            odd = {"Origin": "origin", "DESTINATION": "destination", "Key_Id": "key_id", "tS": "ts", "nonce": "nonce",
                   "SIG": "sig"}
            fields = [f'{shown}="{named[name]}"' for shown, name in odd.items()]
            return ['colour="a, b=c \\" d" , ' + " ,".join(fields) + ', later=1']

        def other_sig(named):
            first = "A" if named["sig"][0] != "A" else "B"
            return [wire.authorization(**named | {"sig": first + named["sig"][1:]})]

        other = {
            "wrong-destination": {"destination": self.third},
            "old-ts": {"ts": now_ms() - 120_000},
            "future-ts": {"ts": now_ms() + 120_000},
            "unknown-key": {"key": wire.Key()},
            "changed-body": {"sent": {"body": dump({"channels": [self.channel, "!other:" + self.third]}).encode()}},
            "changed-path": {"sent": {"path": API + "/call"}},
            "changed-query": {"sent": {"path": (self.path or API + "/heads") + "?more=1"}},
            "changed-method": {"sent": {"method": "PUT"}},
            "changed-sig": {"header": other_sig},
            "header-twice": {"header": lambda named: [wire.authorization(**named)] * 2},
            "name-twice": {"header": lambda named: [wire.authorization(**named) + f" TS={named['ts']}"]},
            "no-header": {"header": lambda _: []},
            "no-ts": without("ts"), "no-nonce": without("nonce"), "no-sig": without("sig"), "no-key": without("key_id"),
            "forged-origin": {"origin": self.third},
            "bad-json": {"body": b'{"channels":['},
            "duplicate-key": {"body": b'{"channels":[],"channels":[]}'},
            "quoted-header": {"header": quoted},
            "padded-sig": {"header": lambda named: [wire.authorization(
                **named | {"sig": named["sig"].replace("-", "+").replace("_", "/") + "=="})]},
        }
        yield self.ask(**other[name])

    def reused_nonce(self):
        yield self.ask()
        self.node.last_signed = self.signed
        yield self.ask(again=self.signed)

    def repeat(self):
        """The request of the last `reused-nonce` once more, as when its target was started again since."""
        if not getattr(self.node, "last_signed", None):
            raise SystemExit("reused-nonce comes first")
        yield self.ask(again=self.node.last_signed)

    # Of a `send`

    def txn_same(self):
        txn, value = wire.new_nonce(), {"origin_server_ts": now_ms()}
        yield self.send([], txn, value=value)
        yield self.send([], txn, value=value)

    def txn_changed(self):
        txn = wire.new_nonce()
        yield self.send([], txn, value={"origin_server_ts": 1})
        yield self.send([], txn, value={"origin_server_ts": 2})

    def event(self, step=1, data=None, prev_seen=None, key=None, origin=None):
        """An own event with the `author_seq` that is due, or one so much further on."""
        row = self.node.store.one("SELECT max(author_seq) FROM outbox WHERE channel = ?", self.channel)
        number = max(row[0] or 0, self.node.store.author_seq(self.channel, self.node.origin) or 0) + step
        return wire.make_event(key or self.key, origin or self.node.origin, self.channel, "note", max(number, 1),
                               data or {"attack": 1}, prev_seen or self.node.store.head(self.channel)["id"])

    def as_hub(self, event, seq, prev_event, term=None):
        term = term or max(self.node.store.head(self.channel)["term"], 1)
        return wire.order_event(self.key, self.node.origin, event, seq, prev_event, term)

    def is_hub(self):
        return wire.hub_of(self.channel) == self.node.origin

    def ordered(self, event):
        """The event alone for its hub, with the next place where this origin is the hub itself."""
        head = self.node.store.head(self.channel)
        return self.as_hub(event, head["seq"] + 1, head["id"]) if self.is_hub() else event

    def wrong_prev(self):
        event = self.event(prev_seen="evt_" + "a" * 32)
        if self.is_hub():
            event = self.as_hub(event, self.node.store.head(self.channel)["seq"] + 1, "evt_" + "a" * 32)
        yield self.send([event])

    def duplicate_seq(self):
        """As a hub: another event in a place that is taken. As an author: another event under a number that is taken."""
        if not self.is_hub():
            yield self.send([self.event(step=0)])
            return
        head = self.node.store.head(self.channel)
        yield self.send([self.as_hub(self.event(data={"attack": "another"}), head["seq"], head["prev_event"])])

    def split_history(self):
        """As a hub: one event for the target, and another in its place for the third, who must find it out."""
        if not self.is_hub():
            raise SystemExit("this needs a channel of this origin")
        head, target = self.node.store.head(self.channel), self.target
        for self.target in (target, self.third):
            yield self.send([self.as_hub(self.event(data={"for": self.target}), head["seq"] + 1, head["id"])])

    def author_gap(self):
        yield self.send([self.ordered(self.event(step=3))])

    def forged_author(self):
        yield self.send([self.ordered(self.event(origin=self.third))])

    def other_body_origin(self):
        yield self.send([], value={"origin": self.third})

    def other_channel_hub(self):
        """The place of an event in a channel of which neither this origin nor the target is the hub."""
        if wire.hub_of(self.channel) in (self.node.origin, self.target):
            raise SystemExit("this needs a channel of a third origin")
        head = self.node.store.head(self.channel)
        yield self.send([self.as_hub(self.event(), head["seq"] + 1, head["id"])])

    def wrong_id(self):
        event = self.event()
        event["id"] = "evt_" + "a" * 32
        yield self.send([self.ordered(event | {"sig": self.key.sign(wire.EVENT, wire.signed_part(event))})])

    def bad_event_sig(self):
        yield self.send([self.ordered(self.event() | {"sig": wire.b64(bytes(64))})])

    def big_event(self):
        yield self.send([self.ordered(self.event(data={"big": "x" * 65536}))])

    def deep_json(self):
        yield self.send([self.ordered(self.event(data=json.loads('{"a":' * 40 + "1" + "}" * 40)))])

    def many_events(self):
        yield self.send([self.event() for _ in range(51)])

    # Of the rest

    def other_inviter(self):
        yield self.go("POST", API + "/invite", {"channel": "!x:" + self.third, "inviter": self.third,
                                                "invitee": self.target})

    def other_invitee(self):
        yield self.go("POST", API + "/invite", {"channel": "!x:" + self.node.origin, "inviter": self.node.origin,
                                                "invitee": self.third})

    def unknown_channel(self):
        yield self.go("GET", API + f"/channels/!nothing:{self.target}/events?after=0&limit=5")

    def send_unknown_channel(self):
        self.channel = f"!nothing:{self.target}"
        yield self.send([self.event()])

    def unknown_target(self):
        yield self.go("POST", API + "/call", {"call_id": wire.new_nonce(), "target": self.target + "/nothing", "tool": "x",
                                              "params": {}})

    def call_changed(self):
        """One call id, two calls. `path` names the target and the tool, as in alpha.test/demo/echo."""
        target, tool = (self.path or self.target + "/demo/echo").rsplit("/", 1)
        call = {"call_id": wire.new_nonce(), "target": target, "tool": tool}
        yield self.go("POST", API + "/call", call | {"params": {"n": 1}})
        yield self.go("POST", API + "/call", call | {"params": {"n": 2}})


def old_publish(attack, channel, kind, data, form="rfc3339"):
    """An event as the original design has it, without `sig`, in a signed request."""
    attack.channel = channel
    now = now_ms()
    event = {"id": "evt_" + wire.new_nonce(), "type": kind, "room": channel, "origin": attack.node.origin,
             "timestamp": now if form == "ms" else stamp(now), "prev_event": "evt_nothing", "data": data}
    return {"submitted": event} | attack.send([event])
