"""The origin itself: what it takes into its channels, what it publishes and delivers, and what it finds out."""
import collections
import json
import random
import threading
import time
import traceback
from urllib.parse import quote

import wire
from client import Away, Client, moment, stamp
from wire import CREATED, EVENT, INVITED, JOINED, LEFT, ORDER, REMOVED, Problem, bad, dump, now_ms

BATCH_BYTES = 900 << 10
API = "/federation/v1"


class Gap(Exception):
    """Events are missing before this one."""


def path_of(channel, rest):
    return f"{API}/channels/{quote(channel, safe='!:')}/{rest}"


class Node:
    def __init__(self, store, origin, accept="none", window=60_000, heads_every=60, heads_max=500, strict_heads=False,
                 retry_max=600, **client):
        self.store, self.origin, self.accept, self.window = store, origin, accept, window
        self.heads_every, self.heads_max, self.retry_max = heads_every, heads_max, retry_max
        self.strict_heads = strict_heads
        self.key, self.client = store.load_key(), Client(store, self, **client)
        self.serial, self.couriers, self.trouble = collections.defaultdict(threading.RLock), {}, {}

    def start(self, endpoint):
        links = [json.loads(link) for link, in self.store.all("SELECT link FROM previous ORDER BY rowid")]
        old = dump([[link["key"], moment(link["until"])] for link in links])
        self.store.run("INSERT OR REPLACE INTO pins VALUES (?, ?, ?, ?, ?, 0)", self.origin, self.key.id, old, endpoint,
                       2**53)
        self.endpoint = endpoint
        for channel, state in self.store.all("SELECT id, state FROM channels"):
            if state != "invited":
                self.deliver_to(wire.hub_of(channel))
        for origin, in self.store.all("SELECT DISTINCT origin FROM members WHERE sent >= 0"):
            self.deliver_to(origin)
        threading.Thread(target=self.compare_heads, daemon=True).start()

    def document(self):
        links = [json.loads(link) for link, in self.store.all("SELECT link FROM previous ORDER BY rowid")]
        now = now_ms()
        card = {"node": self.key.id, "name": self.origin, "service": "comity", "version": "0.1.0", "protocol": "1.0.0",
                "capabilities": [], "roles": [], "expertise": [], "reports_to": [], "protocols": ["federation"],
                "endpoints": [self.endpoint], "origin": self.origin, "started_at": stamp(now), "issued_at": stamp(now),
                "expires_at": stamp(now + 3_600_000)}
        return {"endpoint": self.endpoint, "version": "1.0", "components": ["naomi", "paulina", "roshumba", "vendela"],
                "public_key": self.key.id, "previous_keys": links,
                "card": card | {"sig": self.key.sign(wire.CARD, card)}}

    def rotate(self, forget=False):
        """Takes a new key, which the old one signs, unless it is to be as if it had been lost."""
        old, new, until = self.key, wire.Key(), stamp(now_ms())
        fields = {"key": old.id, "new_key": new.id, "origin": self.origin, "until": until}
        link = {k: fields[k] for k in ("key", "new_key", "until")} | {"sig": old.sign(wire.ROTATION, fields)}
        with self.store.tx() as db:
            if forget:
                db.execute("DELETE FROM previous")
            else:
                db.execute("INSERT INTO previous VALUES (?, ?)", (old.id, dump(link)))
            pin = self.client.pinned(self.origin)
            known = [] if forget else pin["old"] + [[old.id, moment(until)]]
            db.execute("UPDATE pins SET key = ?, old = ? WHERE origin = ?", (new.id, dump(known), self.origin))
            self.key = self.store.save_key(new)
        return {"key": new.id}

    # Taking events

    def check_author(self, event, source=None):
        """That an event is its author's."""
        if event.get("attested"):
            if wire.content_id(event) != event["id"]:
                self.store.find("attested_content_unbound", event["channel"], id=event["id"])
            return
        if wire.content_id(event) != event["id"]:
            raise Problem(401, "bad_signature", f"the id of the content is {wire.content_id(event)}", "/id")
        if not wire.verify(event["key_id"], EVENT, wire.signed_part(event), event["sig"]):
            why = wire.why_not(event["key_id"], event["sig"], wire.event_readings(event))
            raise Problem(401, "bad_signature", f"the author's signature: {why}", "/sig")
        self.client.key_at(event["origin"], event["key_id"], event["origin_server_ts"], source)

    def check_ordered(self, event, source=None):
        """That an event is its author's, and the place its hub's."""
        wire.check_form(event, True)
        hub = wire.hub_of(event["channel"])
        if not wire.verify(event["hub_key_id"], ORDER, wire.order_fields(event, hub), event["hub_sig"]):
            why = wire.why_not(event["hub_key_id"], event["hub_sig"], wire.order_readings(event, hub))
            raise Problem(401, "bad_signature", f"the hub's signature: {why}", "/hub_sig")
        self.client.key_at(hub, event["hub_key_id"], event["hub_ts"], source)
        self.check_author(event, source)

    def receive(self, sender, events, source):
        """Takes the events of a `send`: those of channels of our own into order, those of others as their hub
        ordered them."""
        processed, rejected, todo, filled = [], [], [], set()
        for given in events:
            ident = given.get("id") if isinstance(given, dict) else None
            try:
                todo.append((ident, *self.checked(sender, given, source)))
            except Problem as problem:
                self.reject(rejected, ident, problem, sender)
        while todo:
            gap = None
            with self.store.tx():
                while todo and not gap:
                    ident, event, is_ordered = todo[0]
                    try:
                        self.place(event) if is_ordered else self.order(sender, event)
                        processed.append(ident)
                    except Gap:
                        gap = event["channel"]
                        if gap not in filled:
                            break
                        missing = Problem(409, "conflict", "what came before is missing")
                        gap = self.reject(rejected, ident, missing, sender)
                    except Problem as problem:
                        self.reject(rejected, ident, problem, sender)
                    todo.pop(0)
            if gap:
                filled.add(gap)
                try:
                    self.backfill(gap)
                except Problem as problem:
                    self.store.find("backfill_refused", gap, code=problem.code, detail=problem.detail)
        return {"processed": processed, "rejected": rejected}

    def reject(self, rejected, ident, problem, sender):
        rejected.append({"id": ident, "code": problem.code, "detail": problem.detail})
        self.store.find("rejected_event", f"{sender} {ident} {problem.code}", detail=problem.detail)

    def checked(self, sender, given, source):
        if isinstance(given, dict) and "sig" not in given and not given.get("attested"):
            return self.of_the_original(sender, given), False
        is_ordered = wire.hub_of(given.get("channel") if isinstance(given, dict) else None) != self.origin
        wire.check_form(given, is_ordered)
        if is_ordered:
            if sender != wire.hub_of(given["channel"]):
                raise Problem(403, "forbidden", "only the hub of a channel sends its events")
            self.check_ordered(given, source)
            return given, True
        event = {k: v for k, v in given.items() if k not in wire.HUB_MEMBERS}
        if event["origin"] != sender or event.get("attested"):
            raise Problem(403, "forbidden", "an event is sent by its author")
        self.check_author(event, source)
        return event, False

    def of_the_original(self, sender, given):
        """An event without `sig`: this hub says that its origin sent it."""
        channel, ts = given.get("channel", given.get("room")), given.get("origin_server_ts", given.get("timestamp"))
        if wire.hub_of(channel) != self.origin or given.get("origin", sender) != sender:
            raise Problem(403, "forbidden", "an event without sig is accepted from its own origin, by its hub")
        event = {"channel": channel, "type": given.get("type"), "origin": sender, "origin_server_ts": moment(ts),
                 "data": given.get("data"), "attested": True, "submitted_id": given.get("id")}
        event = {"id": wire.content_id(event)} | event
        wire.check_form(event, False)
        return event

    def place(self, event, is_backfill=False):
        """Puts an ordered event where it belongs, once."""
        channel, seq = event["channel"], event["seq"]
        state, history, _ = self.store.channel(channel)
        head, there = self.store.head(channel), self.store.event_at(channel, seq)
        if state in (None, "invited"):
            raise Problem(404, "unknown_channel", "this channel is not known here")
        if there and (there["id"], there["origin"]) == (event["id"], event["origin"]):
            return
        if there:
            self.equivocation(there, event)
            raise Problem(409, "hub_equivocation", f"seq {seq} is {there['id']} here")
        if state in ("left", "removed") or seq < head["seq"]:
            raise Problem(403, "not_member", "not in the time of this membership")
        if self.store.has(channel, event["origin"], event["id"]):
            self.store.find("placed_twice", f"{channel} {event['id']}", seq=seq)
            raise Problem(409, "conflict", "this event has its place already")
        if event["term"] < head["term"]:
            raise Problem(409, "conflict", "an earlier term")
        is_own_join = state == "joining" and event["type"] == JOINED and event["origin"] == self.origin
        is_start = is_own_join and (head["seq"] > 0 or history != "all" or is_backfill)
        if seq == head["seq"] + 1 and (head["seq"] > 0 or event["prev_event"] is None):
            if event["prev_event"] != head["id"]:
                self.store.find("wrong_prev_event", f"{channel} {seq}", mine=head["id"], told=event["prev_event"])
                raise Problem(409, "conflict", f"the event before is {head['id']}")
        elif is_start:
            with self.store.tx() as db:
                db.execute("DELETE FROM authors WHERE channel = ?", (channel,))
        else:
            raise Gap
        self.put(event)

    def put(self, event):
        """Keeps an event whose place is right, and does what it says of members."""
        channel, origin, kind = event["channel"], event["origin"], event["type"]
        is_hubs, hub = wire.hub_of(channel) == origin, wire.hub_of(channel)
        with self.store.tx() as db:
            self.look_at_author(event)
            db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?)",
                       (channel, event["seq"], event["id"], origin, dump(event)))
            if "author_seq" in event:
                db.execute("INSERT OR REPLACE INTO authors VALUES (?, ?, ?)", (channel, origin, event["author_seq"]))
            if origin == self.origin:
                db.execute("UPDATE outbox SET state = 'done' WHERE channel = ? AND id = ?", (channel, event["id"]))
            if kind in (CREATED, INVITED, REMOVED) and not is_hubs:
                self.store.find("member_plays_admin", f"{channel} {event['id']}", origin=origin)
                return
            data = event["data"] if isinstance(event["data"], dict) else {}
            named = next((data[k] for k in ("member", "origin", "invitee") if isinstance(data.get(k), str)), None)
            who = named if kind == REMOVED else origin
            if kind in (CREATED, JOINED):
                start = 0 if hub != self.origin or self.store.channel(channel)[1] == "all" else event["seq"] - 1
                db.execute("INSERT OR REPLACE INTO members VALUES (?, ?, ?, NULL)", (channel, who, start))
            elif kind in (LEFT, REMOVED):
                db.execute("UPDATE members SET until = ? WHERE channel = ? AND origin = ?", (event["seq"], channel, who))
            if who == self.origin and hub != self.origin and kind in (JOINED, LEFT, REMOVED):
                db.execute("UPDATE channels SET state = ? WHERE id = ?", (kind.split(".")[1], channel))
        if hub == self.origin:
            for member, in self.store.all("SELECT origin FROM members WHERE channel = ? AND sent >= 0", channel):
                self.deliver_to(member)

    def look_at_author(self, event):
        """What an event shows of the events that are not here."""
        channel, origin = event["channel"], event["origin"]
        is_whole = event["seq"] == 1 or self.store.event_at(channel, 1) is not None
        if "author_seq" in event:
            last, number = self.store.author_seq(channel, origin), event["author_seq"]
            due = last + 1 if last is not None else 1 if is_whole else number
            if number != due:
                kind = "author_gap" if number > due else "author_repeats"
                self.store.find(kind, f"{channel} {origin} {number}", due=due, seq=event["seq"])
        seen = event.get("prev_seen")
        if seen and is_whole and not self.store.one("SELECT 1 FROM events WHERE channel = ? AND id = ?", channel, seen):
            self.store.find("prev_seen_unknown", f"{channel} {event['id']}", prev_seen=seen)

    def equivocation(self, mine, other):
        kind = "hub_equivocation" if mine["term"] == other["term"] else "hub_rewrote"
        subject = f"{mine['channel']} term {other['term']} seq {mine['seq']}"
        self.store.find(kind, subject, hub=wire.hub_of(mine["channel"]), mine=mine, other=other)

    def fetch(self, origin, channel, after, limit=500):
        answer = self.client.ask(origin, "GET", path_of(channel, f"events?after={after}&limit={limit}"))
        if not isinstance(answer, dict) or not isinstance(answer.get("events"), list):
            raise Away(f"{origin} answers with no events")
        return answer["events"], (answer.get("head") or {}).get("seq") or 0

    def backfill(self, channel):
        """Fetches what is missing at the end of a channel from its hub."""
        with self.serial[channel]:
            before = None
            while before != (after := self.store.head(channel)["seq"]):
                before = after
                events, head = self.fetch(wire.hub_of(channel), channel, after)
                for event in events:
                    self.check_ordered(event)
                    if event["channel"] != channel:
                        raise bad("an event of another channel")
                problem = None
                # What is right before the first that is wrong is kept, and so is what was found out.
                with self.store.tx():
                    for event in events:
                        try:
                            self.place(event, is_backfill=True)
                        except Gap:
                            problem = Problem(409, "conflict", f"seq {event['seq']} does not follow {after}")
                            break
                        except Problem as why:
                            problem = why
                            break
                if problem:
                    raise problem
                if not events or events[-1]["seq"] >= head:
                    break

    # Ordering, as the hub of a channel of this origin

    def order(self, sender, event):
        """Gives an event of a member its place."""
        channel = event["channel"]
        if self.store.channel(channel)[0] != "hub":
            raise Problem(404, "unknown_channel", "there is no such channel")
        given = event.get("submitted_id")
        if self.store.has(channel, sender, event["id"]) or given and self.store.one(
                "SELECT 1 FROM events WHERE channel = ? AND origin = ? AND json_extract(json, '$.submitted_id') = ?",
                channel, sender, given):
            return
        row = self.store.one("SELECT until FROM members WHERE channel = ? AND origin = ?", channel, sender)
        is_join = event["type"] == JOINED
        if not row or row[0] is not None and not (is_join and row[0] == -1):
            raise Problem(403, "not_member", f"{sender} is no member")
        if event["type"].startswith("naomi:") and event["type"] != LEFT and not is_join:
            raise Problem(403, "forbidden", "that is the admin's")
        if not event.get("attested") and event["author_seq"] != (self.store.author_seq(channel, sender) or 0) + 1:
            raise Problem(409, "conflict", "author_seq does not follow")
        self.append(event)

    def append(self, event):
        head = self.store.head(event["channel"])
        event = wire.order_event(self.key, self.origin, event, head["seq"] + 1, head["id"], max(head["term"], 1))
        self.put(event)
        return event

    def create(self, channel, history=None):
        if wire.hub_of(channel) != self.origin or self.store.channel(channel)[0]:
            raise Problem(409, "conflict", "not of this origin, or there already")
        self.store.run("INSERT INTO channels VALUES (?, 'hub', ?, NULL)", channel, history)
        return self.publish(channel, CREATED, {"history": history} if history else {})

    def invite(self, channel, invitee):
        with self.store.tx() as db:
            found = self.publish(channel, INVITED, {"invitee": invitee})
            db.execute("INSERT OR REPLACE INTO members VALUES (?, ?, -1, -1)", (channel, invitee))
        body = {"channel": channel, "inviter": self.origin, "invitee": invitee, "members": self.store.members(channel)}
        history = self.store.channel(channel)[1]
        answer = self.client.ask(invitee, "POST", API + "/invite", body | ({"history": history} if history else {}))
        if answer.get("accepted") and isinstance(answer.get("event"), dict):
            self.admit(invitee, answer["event"], None)
        return found + [answer]

    def admit(self, sender, event, source, kind=JOINED):
        wire.check_form(event, False)
        if event["type"] != kind or event["origin"] != sender or wire.hub_of(event["channel"]) != self.origin:
            raise bad(f"not {kind} of {sender} in a channel of {self.origin}", "/event")
        self.check_author(event, source)
        with self.store.tx():
            self.order(sender, {k: v for k, v in event.items() if k not in wire.HUB_MEMBERS})

    # Publishing

    def publish(self, channel, kind, data, count=1):
        """Events of this origin: in the outbox, or in order at once where it is the hub itself."""
        hub = wire.hub_of(channel)
        with self.store.tx() as db:
            state, made = self.store.channel(channel)[0], []
            if state not in ("hub", "joined", "joining"):
                raise Problem(403, "not_member", f"{channel}: {state or 'unknown'}")
            last = self.store.one("SELECT max(author_seq) FROM outbox WHERE channel = ?", channel)[0] or 0
            last = max(last, self.store.author_seq(channel, self.origin) or 0)
            for number in range(last + 1, last + 1 + count):
                seen = self.store.head(channel)["id"]
                event = wire.make_event(self.key, self.origin, channel, kind, number, data, seen)
                wire.check_form(event, False)
                # As deep as it may be in the body of a `send`.
                if wire.depth(event) > wire.DEPTH_MAX - 2:
                    raise bad("nested too deep", "/data")
                if hub == self.origin:
                    self.append(event)
                else:
                    db.execute("INSERT INTO outbox VALUES (?, ?, ?, ?, 'waiting', NULL)",
                               (channel, number, event["id"], dump(event)))
                made.append({"id": event["id"], "author_seq": number})
        self.deliver_to(hub)
        return made

    def accept_invitation(self, channel, must_be_invited=True):
        state, _, inviter = self.store.channel(channel)
        if state in ("joined", "joining", "hub") or (must_be_invited and state != "invited"):
            raise Problem(409, "conflict", f"{channel}: {state or 'no invitation'}")
        with self.store.tx() as db:
            db.execute("INSERT INTO channels VALUES (?, 'joining', NULL, ?) ON CONFLICT DO UPDATE SET state = 'joining'",
                       (channel, wire.hub_of(channel)))
            return self.publish(channel, JOINED, {"member": self.origin})

    def invited(self, sender, body):
        """An invitation: kept, and accepted where all are."""
        channel, history = body.get("channel"), body.get("history")
        if wire.hub_of(channel) != sender or body.get("inviter") != sender:
            raise Problem(403, "forbidden", "only the hub of a channel invites to it")
        if body.get("invitee") != self.origin:
            raise Problem(403, "forbidden", "somebody else is invited")
        with self.store.tx() as db:
            state = self.store.channel(channel)[0]
            if state not in ("joined", "joining"):
                db.execute("INSERT OR REPLACE INTO channels VALUES (?, 'invited', ?, ?)", (channel, history, sender))
                for member in body.get("members") or []:
                    if wire.is_origin(member):
                        db.execute("INSERT OR IGNORE INTO members VALUES (?, ?, 0, NULL)", (channel, member))
                if self.accept != "all":
                    return {"accepted": False, "pending": True}
                self.accept_invitation(channel)
            row = self.store.one("SELECT json FROM outbox WHERE channel = ? AND json_extract(json, '$.type') = ? "
                                 "ORDER BY author_seq DESC LIMIT 1", channel, JOINED)
            event = {"event": json.loads(row[0])} if row else {}
            return {"accepted": True, "events_since": self.store.head(channel)["seq"]} | event

    # Delivering: one courier per destination, one request at a time

    def deliver_to(self, destination):
        with self.store.lock:
            if destination != self.origin and destination not in self.couriers:
                self.couriers[destination] = threading.Thread(target=self.courier, args=(destination,), daemon=True)
                self.couriers[destination].start()

    def courier(self, destination):
        pause = 1
        while True:
            with self.store.changed:
                while not (work := self.work_for(destination)):
                    self.store.changed.wait(5)
            try:
                self.deliver(destination, *work)
                self.trouble.pop(destination, None)
                pause = 1
            except Exception as error:
                if not isinstance(error, (Away, Problem)):
                    traceback.print_exc()
                self.trouble[destination] = getattr(error, "code", "away") + ": " + str(error)
                time.sleep(max(pause * random.uniform(0.5, 1), getattr(error, "retry_after", 0) or 0))
                pause = min(pause * 2, self.retry_max)

    def work_for(self, destination):
        """The next thing to deliver: a batch that was begun, own events in order, events as a hub."""
        row = self.store.one("SELECT txn, body FROM batches WHERE destination = ?", destination)
        if row:
            return "send", row
        rows = self.store.all("SELECT json FROM outbox WHERE state = 'waiting' "
                              "AND substr(channel, instr(channel, ':') + 1) = ? ORDER BY rowid LIMIT 50", destination)
        events = [json.loads(text) for text, in rows]
        if events and events[0]["type"] in (JOINED, LEFT):
            return "join" if events[0]["type"] == JOINED else "leave", events[0]
        turn = next((at for at, event in enumerate(events) if event["type"] in (JOINED, LEFT)), None)
        if not events:
            rows = self.store.all(
                "SELECT e.json FROM events e JOIN members m ON m.channel = e.channel JOIN channels c ON c.id = e.channel "
                "WHERE m.origin = ? AND c.state = 'hub' AND m.sent >= 0 AND e.seq > m.sent "
                "AND (m.until IS NULL OR e.seq <= m.until) ORDER BY e.channel, e.seq LIMIT 50", destination)
            events = [json.loads(text) for text, in rows]
        events, room = events[:turn], BATCH_BYTES
        batch = []
        for event in events:
            room -= len(dump(event).encode())
            if batch and room < 0:
                break
            batch.append(event)
        if not batch:
            return None
        # The body is kept as it is: the same transaction must have the same bytes when it is sent again.
        row = wire.new_nonce(), dump({"origin": self.origin, "origin_server_ts": now_ms(), "events": batch})
        self.store.run("INSERT INTO batches VALUES (?, ?, ?)", destination, *row)
        return "send", row

    def deliver(self, destination, how, what):
        if how != "send":
            self.client.ask(destination, "POST", f"{API}/{how}", {"channel": what["channel"], "event": what})
            self.store.run("UPDATE outbox SET state = 'sent' WHERE id = ? AND state = 'waiting'", what["id"])
            return
        txn, body = what
        try:
            answer = self.client.ask(destination, "PUT", f"{API}/send/{txn}", body=body.encode())
        except Problem as problem:
            if problem.status == 409:
                self.store.find("transaction_conflict", f"{destination} {txn}", detail=problem.detail)
                self.store.run("DELETE FROM batches WHERE destination = ?", destination)
            raise
        events = json.loads(body)["events"]
        refused = {entry.get("id"): entry for entry in answer.get("rejected") or []}
        taken = answer.get("processed") or []
        again = None
        with self.store.tx() as db:
            for event in events:
                refusal = refused.get(event["id"], {})
                if refusal:
                    self.store.find("event_refused", f"{destination} {event['id']}", **refusal)
                if wire.hub_of(event["channel"]) == self.origin:
                    db.execute("UPDATE members SET sent = max(sent, ?) WHERE channel = ? AND origin = ?",
                               (event["seq"], event["channel"], destination))
                elif refusal.get("code") in ("unavailable", "rate_limited") or not refusal and event["id"] not in taken:
                    again = Problem(503, "unavailable", f"{event['id']} is to be sent again")
                else:
                    db.execute("UPDATE outbox SET state = ?, detail = ? WHERE id = ? AND state = 'waiting'",
                               ("rejected" if refusal else "sent", refusal.get("code"), event["id"]))
            db.execute("DELETE FROM batches WHERE destination = ?", (destination,))
        if again:
            raise again

    # Heads

    def compare_heads(self):
        while True:
            try:
                self.look_around()
            except Exception:
                traceback.print_exc()
            time.sleep(self.heads_every)

    def look_around(self):
        """Fetches what was missed from the hubs, and compares with what the other members were given."""
        asked = collections.defaultdict(list)
        for channel, state in self.store.all("SELECT id, state FROM channels WHERE state IN ('hub', 'joined', 'joining')"):
            try:
                if state != "hub":
                    self.backfill(channel)
                    self.learn_members(channel)
            except Problem as problem:
                self.store.find("backfill_refused", channel, code=problem.code, detail=problem.detail)
            except Away:
                pass
            for member in self.store.members(channel):
                if member != self.origin and state != "joining":
                    asked[member].append(channel)
        for member, channels in asked.items():
            for at in range(0, len(channels), 500):
                try:
                    self.compare_with(member, channels[at:at + 500])
                except (Away, Problem) as error:
                    self.trouble["heads " + member] = str(error)

    def learn_members(self, channel):
        answer = self.client.ask(wire.hub_of(channel), "GET", path_of(channel, "members"))
        named = [m.get("origin") if isinstance(m, dict) else m for m in list(answer.get("members") or [])]
        with self.store.tx() as db:
            for member in filter(wire.is_origin, named):
                db.execute("INSERT OR IGNORE INTO members VALUES (?, ?, 0, NULL)", (channel, member))

    def compare_with(self, member, channels):
        answer = self.client.ask(member, "POST", API + "/heads", {"channels": channels})
        heads = answer.get("heads") or {}
        if isinstance(heads, list):
            heads = {head.get("channel"): head for head in heads if isinstance(head, dict)}
        for channel in channels:
            head = heads.get(channel)
            if not isinstance(head, dict) or type(head.get("seq")) is not int or head["seq"] < 1:
                continue
            mine = self.store.event_at(channel, head["seq"])
            if not mine and head["seq"] > (last := self.store.head(channel))["seq"] > 0:
                mine, head = last, {"seq": last["seq"], "id": None}
            if not mine or mine["id"] == head.get("id"):
                continue
            theirs = next(iter(self.fetch(member, channel, mine["seq"] - 1, 1)[0]), None)
            if not isinstance(theirs, dict) or theirs.get("seq") != mine["seq"]:
                continue
            self.check_ordered(theirs)
            if theirs["channel"] == channel and theirs["id"] != mine["id"]:
                self.equivocation(mine, theirs)
            elif head["id"]:
                self.store.find("head_is_another", f"{member} {channel} {mine['seq']}", told=head["id"], mine=mine["id"])
        self.trouble.pop("heads " + member, None)

    def status(self):
        channels = []
        for channel, state, history in self.store.all("SELECT id, state, history FROM channels ORDER BY id"):
            head = self.store.head(channel)
            counts = dict(self.store.all("SELECT state, count(*) FROM outbox WHERE channel = ? GROUP BY state", channel))
            channels.append({"channel": channel, "state": state, "history": history, "seq": head["seq"], "id": head["id"],
                             "term": head["term"], "members": self.store.members(channel), "outbox": counts})
        findings = [{"kind": kind, "subject": subject, "ts": ts} | {"detail": json.loads(text)} for kind, subject, text, ts
                    in self.store.all("SELECT kind, subject, json, ts FROM findings ORDER BY ts, rowid")]
        pins = {o: {"key": key, "endpoint": endpoint, "changed": bool(changed)} for o, key, endpoint, changed
                in self.store.all("SELECT origin, key, endpoint, changed FROM pins")}
        return {"origin": self.origin, "key": self.key.id, "channels": channels, "findings": findings, "pins": pins,
                "trouble": self.trouble, "refusals": dict(self.store.all("SELECT code, count FROM refusals"))}

    def export(self, channel):
        """A channel as the offline verifier reads it."""
        rows = self.store.all("SELECT json FROM events WHERE channel = ? ORDER BY seq", channel)
        origins = {wire.hub_of(channel)} | {json.loads(text)["origin"] for text, in rows}
        pins = {origin: self.client.pinned(origin) for origin in sorted(origins)}
        keys = {origin: [pin["key"]] + [{"key": key, "until": until} for key, until in pin["old"]]
                for origin, pin in pins.items() if pin}
        # What was signed by a key that a person has replaced since was right when it was taken.
        for event in (json.loads(text) for text, in rows):
            for origin, key in ((event["origin"], event.get("key_id")), (wire.hub_of(channel), event["hub_key_id"])):
                known = keys.setdefault(origin, [])
                if key and key not in [k["key"] if isinstance(k, dict) else k for k in known]:
                    known.append(key)
        return [{"channel": channel, "member": self.origin, "keys": keys}] + [json.loads(text) for text, in rows]
