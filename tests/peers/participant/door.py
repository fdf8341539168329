"""The network door: signed requests in, signed answers out."""
import http.server
import ipaddress
import json
import re
import socket
import ssl
import threading
import time
import traceback
from urllib.parse import parse_qsl, unquote, urlsplit

import wire
from client import Away, WELL_KNOWN
from node import API
from wire import HEADER, REQUEST, RESPONSE, Problem, bad, dump, now_ms

TOOLS = {
    "echo": ("Answers with what it was given.", {"type": "object"}),
    "slow": ("Takes so many seconds and tells every tenth of the way.",
             {"type": "object", "properties": {"seconds": {"type": "number", "minimum": 0, "maximum": 60}}}),
}
ANSWER_BYTES = 8 << 20


class Server(http.server.ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 128

    def __init__(self, node, host, port, tls=None):
        self.node, self.tls = node, tls
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Door)

    def finish_request(self, request, address):
        """Shakes hands in the connection's own thread, so that nobody holds up the others."""
        try:
            request.settimeout(10)
            request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                with self.tls.wrap_socket(request, server_side=True) as request:
                    return super().finish_request(request, address)
            super().finish_request(request, address)
        except (OSError, ssl.SSLError):
            pass


class Door(http.server.BaseHTTPRequestHandler):
    protocol_version, timeout, server_version, sys_version = "HTTP/1.1", 30, "participant", ""

    def log_message(self, *_):
        pass

    def any(self):
        # The target as the client wrote it: `self.path` has lost leading slashes.
        self.uri, self.asked, self.is_streaming = self.requestline.split()[1], None, False
        # A body that was not read must not be taken for the next request.
        self.has_body = False
        try:
            self.respond(200, self.handle_request())
        except Problem as problem:
            self.server.node.store.refused(problem)
            self.close_connection |= not self.has_body
            self.refuse(problem)
        except Away as away:
            print(f"503 to {self.client_address[0]}: {away}", flush=True)
            self.refuse(Problem(503, "unavailable", "another origin could not be asked", retry_after=1))
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception:
            traceback.print_exc()
            self.refuse(Problem(500, "unavailable", "an error of this node"))

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = any

    def refuse(self, problem):
        if self.is_streaming:
            self.close_connection = True
            return
        self.respond(problem.status, problem.body(), problem.retry_after or (1 if problem.status in (429, 503) else None))

    def respond(self, status, value, retry_after=None):
        if value is None:
            return
        body = value if isinstance(value, bytes) else dump(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status < 400 else "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        if retry_after:
            self.send_header("Retry-After", str(retry_after))
        if self.uri == WELL_KNOWN and status == 200:
            self.send_header("Cache-Control", "max-age=3600")
        if self.asked:
            self.send_header(HEADER, self.proof(status, wire.sha256_hex(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def proof(self, status, content_sha256):
        node, ts = self.server.node, now_ms()
        fields = wire.response_fields(node.origin, node.key.id, ts, status, content_sha256, self.asked)
        return wire.authorization(origin=node.origin, destination=self.asked["origin"], key_id=node.key.id, ts=ts,
                                  nonce=self.asked["nonce"], sig=node.key.sign(RESPONSE, fields))

    # Checks, in the protocol's order

    def handle_request(self):
        self.look_at_door()
        body = self.read_body()
        path = urlsplit(self.uri)
        if path.path == WELL_KNOWN:
            self.method("GET")
            return self.server.node.document()
        if not path.path.startswith(API + "/"):
            raise Problem(404, "bad_request", "there is nothing here")
        origin = self.authenticate(body)
        parts = [unquote(part) for part in path.path[len(API) + 1:].split("/")]
        return self.route(origin, parts, dict(parse_qsl(path.query)), body)

    def look_at_door(self):
        """No web page drives this."""
        if not self.uri.startswith("/"):
            raise bad("not an origin-form target")
        host = urlsplit("//" + self.headers.get("Host", "")).hostname or ""
        node = self.server.node
        names = {urlsplit("//" + node.origin).hostname, urlsplit(node.endpoint).hostname, "localhost"}
        if host not in names:
            try:
                ipaddress.ip_address(host)
            except ValueError:
                raise Problem(421, "wrong_destination", "this is another host") from None
        if self.headers.get("Origin"):
            raise Problem(403, "forbidden", "no pages of others")
        if self.command == "POST" and self.headers.get_content_type() != "application/json":
            raise Problem(415, "bad_request", "application/json is needed")

    def read_body(self):
        lengths = self.headers.get_all("Content-Length", ["0"])
        if self.headers.get("Transfer-Encoding") or len(lengths) > 1 or not re.fullmatch(r"[0-9]{1,18}", lengths[0]):
            raise bad("one Content-Length is needed")
        if int(lengths[0]) > wire.BODY_MAX:
            raise Problem(413, "too_large", f"a body has at most {wire.BODY_MAX} bytes")
        body = self.rfile.read(int(lengths[0]))
        if len(body) < int(lengths[0]):
            raise ConnectionError
        self.has_body = True
        return body

    def authenticate(self, body):
        node, headers = self.server.node, self.headers.get_all(HEADER, [])
        if not headers:
            raise Problem(401, "bad_signature", f"{HEADER} is missing")
        if len(headers) > 1:
            raise bad(f"{HEADER} stands twice")
        given = wire.parse_authorization(headers[0])
        for name in ("origin", "destination", "key_id", "ts", "nonce", "sig"):
            if name not in given:
                raise Problem(401, "bad_signature", f"{HEADER} has no {name}")
        if not re.fullmatch(r"[0-9]{1,15}", given["ts"]):
            raise bad("ts is not in Unix milliseconds")
        origin, ts = given["origin"], int(given["ts"])
        if not wire.is_origin(origin):
            raise bad("origin is not an origin")
        wire.key_bytes(given["key_id"])
        wire.unb64(given["nonce"], 16)
        wire.unb64(given["sig"], 64)
        fields = wire.request_fields(origin, given["destination"], given["key_id"], ts, given["nonce"], self.command,
                                     self.uri, body)
        # From here on the answer can say to which request it belongs.
        self.asked = fields
        if given["destination"] != node.origin:
            raise Problem(421, "wrong_destination", f"this is {node.origin}")
        if abs(now_ms() - ts) > node.window:
            raise Problem(401, "clock_skew", f"the time here is {now_ms()}")
        if origin == node.origin:
            raise Problem(401, "bad_signature", "that is this origin itself")
        try:
            node.client.key_at(origin, given["key_id"], ts, self.client_address[0])
        except Away as away:
            if node.client.pinned(origin):
                raise
            raise Problem(401, "unknown_peer", "the key of this origin could not be fetched") from away
        if not wire.verify(given["key_id"], REQUEST, fields, given["sig"]):
            texts = fields | {"ts": given["ts"]}
            why = wire.why_not(given["key_id"], given["sig"], [
                ("ts as text", REQUEST, texts), ("the percent-decoded uri", REQUEST, fields | {"uri": unquote(self.uri)}),
                ("the uri without its query", REQUEST, fields | {"uri": self.uri.split("?")[0]})])
            raise Problem(401, "bad_signature", f"the request's signature: {why}")
        if not node.store.first_use(origin, given["nonce"], ts, node.window):
            raise Problem(401, "replayed", "this nonce was used")
        return origin

    def method(self, *allowed):
        if self.command not in allowed:
            raise Problem(405, "bad_request", "not by this method")

    # What can be asked

    def route(self, origin, parts, query, body):
        node = self.server.node
        where = parts[0] if len(parts) == 1 else (parts[0], len(parts), parts[-1])
        if where in ("invite", "join", "leave", "heads", "call"):
            self.method("POST")
            value = wire.parse(body)
            if not isinstance(value, dict):
                raise bad("an object is needed", "")
            return getattr(self, where)(origin, value)
        if parts[0] == "send" and len(parts) == 2:
            self.method("PUT")
            return self.send(origin, parts[1], body)
        if where in (("channels", 3, "events"), ("channels", 3, "members")):
            self.method("GET")
            self.must_be_member(origin, parts[1])
            if parts[2] == "members":
                return {"channel": parts[1], "members": node.store.members(parts[1])}
            return self.events(origin, parts[1], query)
        if where in ("capabilities", "health"):
            self.method("GET")
            if where == "health":
                components = dict.fromkeys(node.document()["components"], "ok")
                return {"status": "ok", "version": "1.0", "components": components, "load": 0}
            return {"tools": [self.tool(name) for name in TOOLS]}
        raise Problem(404, "bad_request", "there is nothing here")

    def tool(self, name):
        described = {"name": name, "description": TOOLS[name][0], "input_schema": TOOLS[name][1], "output_schema": {}}
        digest = wire.sha256_hex(wire.canonical(described))
        return {"target": self.server.node.origin + "/demo"} | described | {"hash": digest}

    def invite(self, origin, value):
        return self.server.node.invited(origin, value)

    def join(self, origin, value):
        self.server.node.admit(origin, value.get("event"), self.client_address[0])
        return {"accepted": True}

    def leave(self, origin, value):
        self.server.node.admit(origin, value.get("event"), self.client_address[0], kind=wire.LEFT)
        return {"accepted": True}

    def must_be_member(self, origin, channel):
        wire.hub_of(channel)
        store = self.server.node.store
        if store.channel(channel)[0] not in ("hub", "joined"):
            raise Problem(404, "unknown_channel", "this channel is not known here")
        if origin not in store.members(channel):
            raise Problem(403, "not_member", f"{origin} is no member")

    def events(self, origin, channel, query):
        """A page of a channel: forward from `after`, or the last ones before `before`, in the order of their seq."""
        store, numbers = self.server.node.store, {}
        for name, value in query.items():
            if name in ("after", "before", "limit"):
                if not re.fullmatch(r"[0-9]{1,16}", value):
                    raise bad(f"{name} is no number")
                numbers[name] = int(value)
        limit = min(numbers.get("limit", 500), 500)
        after, before = numbers.get("after", 0), numbers.get("before", 2**53)
        # A member of a channel of our own sees it from its own `joined` on, unless all may see all.
        start = 1
        if store.channel(channel)[0] == "hub" and store.channel(channel)[1] != "all":
            start = store.one("SELECT max(seq) FROM events WHERE channel = ? AND origin = ? "
                              "AND json_extract(json, '$.type') = ?", channel, origin, wire.JOINED)[0] or 1
        order = "DESC" if "before" in numbers and "after" not in numbers else "ASC"
        rows = store.all("SELECT json FROM events WHERE channel = ? AND seq > ? AND seq < ? AND seq >= ? "
                         f"ORDER BY seq {order} LIMIT ?", channel, after, before, start, limit + 1)
        found, room = [], ANSWER_BYTES
        for text, in rows[:limit]:
            room -= len(text)
            if found and room < 0:
                break
            found.append(json.loads(text))
        head = store.head(channel)
        more = {"next": found[-1]["seq"]} if len(found) < len(rows) and found else {}
        return {"events": found if order == "ASC" else found[::-1], "head": {"seq": head["seq"], "id": head["id"]}} | more

    def heads(self, origin, value):
        store, channels = self.server.node.store, value.get("channels")
        if not isinstance(channels, list) or len(channels) > self.server.node.heads_max:
            raise bad(f"channels is a list of at most {self.server.node.heads_max}", "/channels")
        heads = {}
        for channel in channels:
            try:
                self.must_be_member(origin, channel)
            except Problem:
                if self.server.node.strict_heads:
                    raise
                continue
            head = store.head(channel)
            heads[channel] = {"seq": head["seq"], "id": head["id"], "term": head["term"]}
        return {"heads": heads}

    def send(self, origin, txn, body):
        node, sha = self.server.node, wire.sha256_hex(body)
        value = wire.parse(body)
        events = value.get("events") if isinstance(value, dict) else None
        if not isinstance(events, list) or not 1 <= len(txn) <= 255:
            raise bad("events is a list", "/events")
        if len(events) > wire.BATCH_MAX:
            raise bad(f"at most {wire.BATCH_MAX} events", "/events")
        if value.get("origin") != origin:
            raise Problem(403, "forbidden", "the origin is another than the request's")
        with node.serial["send " + origin]:
            node.store.run("DELETE FROM txns WHERE ts < ?", now_ms() - 86_400_000)
            answer = node.store.once("txns", "txn", origin, txn, sha)
            if answer is None:
                answer = dump(node.receive(origin, events, self.client_address[0]))
                node.store.run("INSERT INTO txns VALUES (?, ?, ?, ?, ?)", origin, txn, sha, answer, now_ms())
        return answer.encode()

    # Calls

    def call(self, origin, value):
        node, ident = self.server.node, value.get("call_id")
        if not isinstance(ident, str) or not 1 <= len(ident) <= 255:
            raise bad("call_id is missing", "/call_id")
        params = value.get("params", {})
        if value.get("target") != node.origin + "/demo" or value.get("tool") not in TOOLS:
            raise Problem(403, "forbidden", "there is no such tool that is open to you")
        if not isinstance(params, dict):
            raise bad("params is an object", "/params")
        body = wire.sha256_hex(wire.canonical({k: value.get(k) for k in ("target", "tool", "params")}))
        streaming = "text/event-stream" in self.headers.get("Accept", "")
        with node.serial[f"call {origin} {ident}"]:
            node.store.run("DELETE FROM calls WHERE ts < ?", now_ms() - 600_000)
            answer = node.store.once("calls", "call", origin, ident, body)
            if streaming:
                self.begin_stream()
            if answer is None:
                node.store.run("INSERT INTO calls VALUES (?, ?, ?, '', ?)", origin, ident, body, now_ms())
                tell = self.tell if streaming else lambda *_: None
                answer = dump({"call_id": ident} | self.run(value["tool"], params, value.get("timeout_ms"), tell))
                node.store.run("UPDATE calls SET answer = ? WHERE origin = ? AND call = ?", answer, origin, ident)
        # It was begun and the program ended: it is not run a second time.
        answer = answer or dump({"call_id": ident, "error": {"code": "unavailable", "message": "it was interrupted"}})
        if not streaming:
            return answer.encode()
        self.tell("result", answer)
        self.write_event("signature", self.proof(200, self.hashed.hex()))

    def run(self, tool, params, timeout_ms, tell):
        if tool == "echo":
            return {"result": params}
        seconds, limit = params.get("seconds", 1), (timeout_ms or 60_000) / 1000
        if type(seconds) not in (int, float) or not 0 <= seconds <= 60:
            return {"error": {"code": "bad_request", "message": "seconds is from 0 to 60"}}
        began = time.monotonic()
        for tenth in range(1, 11):
            time.sleep(max(0, min(began + seconds * tenth / 10, began + limit) - time.monotonic()))
            if time.monotonic() >= began + limit and seconds > limit:
                return {"error": {"code": "expired", "message": "it took too long"}}
            tell("progress", dump({"progress": tenth, "total": 10}))
        return {"result": {"slept": seconds}}

    def begin_stream(self):
        self.is_streaming, self.close_connection, self.hashed = True, True, bytes(32)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()

    def tell(self, name, data):
        self.hashed = wire.chain(self.hashed, data.encode())
        self.write_event(name, data)

    def write_event(self, name, data):
        self.wfile.write(f"event: {name}\ndata: {data}\n\n".encode())


def serve(node, listen, cert=None, key=None):
    """Opens the door, with TLS where there is a certificate."""
    host, port = listen.rsplit(":", 1)
    tls = None
    if cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(cert, key)
        tls.set_alpn_protocols(["http/1.1"])
    server = Server(node, host.strip("[]"), int(port), tls)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
