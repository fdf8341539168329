"""Other origins, from here: their documents and pinned keys, and signed requests to them."""
import collections
import datetime
import http.client
import json
import re
import socket
import ssl
import threading
import time
from urllib.parse import urljoin, urlsplit

import wire
from wire import HEADER, REQUEST, RESPONSE, ROTATION, Problem, bad, now_ms

WELL_KNOWN = "/.well-known/smcp/server"
DOCUMENT_MAX, ANSWER_MAX = 64 << 10, 64 << 20
FAILED_FOR = 300


class Away(Exception):
    """Another origin could not be asked, or did not prove its answer. To be tried again."""


Answer = collections.namedtuple("Answer", "status headers body proof")


def moment(value):
    """Unix milliseconds of a time as `until` carries it: RFC 3339, or already a number."""
    if type(value) is int:
        return value
    try:
        time_ = datetime.datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise bad("not a time") from error
    if time_.tzinfo is None:
        raise bad("a time without its zone")
    return int(time_.timestamp() * 1000)


def stamp(ms):
    time_ = datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc)
    return time_.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def chain_of(document, origin):
    """The links from older keys to the current one, the oldest first; those that do not hold are left away."""
    links, key = [], document["public_key"]
    given = document.get("previous_keys") or []
    while len(links) < 8:
        for link in given:
            fields = {"key": link["key"], "new_key": link["new_key"], "origin": origin, "until": link["until"]}
            is_next = wire.same_key(link["new_key"], key) and not any(wire.same_key(link["key"], l["key"]) for l in links)
            if is_next and wire.verify(link["key"], ROTATION, fields, link["sig"]):
                break
        else:
            break
        links.insert(0, link)
        key = link["key"]
    return links


class Client:
    def __init__(self, store, node, ca=None, insecure_loopback=False, resolve=()):
        self.store, self.node, self.insecure_loopback = store, node, insecure_loopback
        self.resolve = dict(entry.split("=", 1) for entry in resolve)
        self.tls = ssl.create_default_context(cafile=ca)
        self.tls.set_alpn_protocols(["http/1.1"])
        self.fetching = collections.defaultdict(threading.Lock)
        self.failed, self.fetches = {}, collections.deque()

    # One exchange

    def connection(self, url, timeout):
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        is_loopback = host == "localhost" or host == "::1" or re.fullmatch(r"127(\.\d+){3}", host)
        if parts.scheme != "https" and not (parts.scheme == "http" and self.insecure_loopback and is_loopback):
            raise bad(f"{parts.scheme} is not for {host}")
        where = self.resolve.get(parts.netloc) or self.resolve.get(host)
        address = (where.rsplit(":", 1)[0], int(where.rsplit(":", 1)[1])) if where else (host, port)
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        connection.sock = socket.create_connection(address, timeout)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if parts.scheme == "https":
            # `Host` names no port where it is the usual one.
            connection.default_port = 443
            connection.sock = self.tls.wrap_socket(connection.sock, server_hostname=host)
        return connection

    def send(self, url, method, uri, headers, body, timeout):
        """Writes a request exactly so; the connection and its answer."""
        connection = self.connection(url, timeout)
        try:
            connection.putrequest(method, uri, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            if body or method in ("PUT", "POST"):
                connection.putheader("Content-Type", "application/json")
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            return connection, connection.getresponse()
        except BaseException:
            connection.close()
            raise

    def exchange(self, url, method, uri, headers=(), body=b"", timeout=10, size_max=ANSWER_MAX):
        try:
            connection, response = self.send(url, method, uri, headers, body, timeout)
            try:
                data = response.read(size_max + 1)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise Away(f"{urlsplit(url).netloc}: {error!r}") from error
        if len(data) > size_max:
            raise Away(f"{urlsplit(url).netloc}: the answer is too large")
        return response.status, response.headers, data

    # Documents and pins

    def base(self, origin):
        host = origin if origin.endswith("]") else origin.rsplit(":", 1)[0]
        is_loopback = host in ("localhost", "[::1]") or host.startswith("127.")
        return ("http://" if is_loopback and self.insecure_loopback else "https://") + origin

    def fetch(self, origin):
        """The document of an origin, and how long it may be kept."""
        url = self.base(origin) + WELL_KNOWN
        for _ in range(4):
            parts = urlsplit(url)
            uri = parts.path + ("?" + parts.query if parts.query else "")
            status, headers, body = self.exchange(url, "GET", uri, size_max=DOCUMENT_MAX)
            if status not in (301, 302, 303, 307, 308):
                break
            url = urljoin(url, headers.get("Location", ""))
            if urlsplit(url).scheme != parts.scheme:
                raise Away(f"{origin} redirects to another scheme")
        if status != 200:
            raise Away(f"{origin} answers {status} to discovery")
        match = re.search(r"max-age=(\d+)", headers.get("Cache-Control", ""))
        keep = min(max(int(match[1]) if match else 0, 300), 86400)
        try:
            document = wire.parse(body)
            wire.key_bytes(document["public_key"])
            endpoint = urlsplit(document["endpoint"])
            if endpoint.scheme not in ("http", "https") or not endpoint.hostname or endpoint.query or endpoint.fragment:
                raise bad("not an endpoint")
            if str(document["version"]).split(".")[0] != "1":
                raise bad(f"version {document['version']} is not known")
            links = chain_of(document, origin)
        except (Problem, KeyError, TypeError, AttributeError) as error:
            raise Away(f"{origin} has a document that is not right: {error!r}") from error
        return document, links, keep

    def pin(self, origin, refresh=False, source=None):
        """What is known of an origin, fetched when it is not, or not any more. `source` is the address whose request
        made it necessary; only such fetches are rationed."""
        row = self.pinned(origin)
        if row and (origin == self.node.origin or (row["fresh_until"] > now_ms() and not refresh)):
            return row
        with self.fetching[origin]:
            row = self.pinned(origin)
            if row and row["fresh_until"] > now_ms() and not refresh:
                return row
            if source is not None:
                self.ration(origin, source)
            try:
                document, links, keep = self.fetch(origin)
            except Away:
                self.failed[origin] = time.monotonic()
                if row and not refresh:
                    return row
                raise
            self.failed.pop(origin, None)
            return self.keep(origin, row, document, links, now_ms() + keep * 1000)

    def pinned(self, origin):
        row = self.store.one("SELECT key, old, endpoint, fresh_until, changed FROM pins WHERE origin = ?", origin)
        return row and dict(zip(("key", "old", "endpoint", "fresh_until", "changed"), row)) | {"old": json.loads(row[1])}

    def ration(self, origin, source):
        now = time.monotonic()
        while self.fetches and self.fetches[0][0] < now - 60:
            self.fetches.popleft()
        if now - self.failed.get(origin, -FAILED_FOR) < FAILED_FOR:
            raise Away(f"{origin} could not be asked a short while ago")
        if len(self.fetches) >= 100 or sum(address == source for _, address in self.fetches) >= 10:
            raise Problem(429, "rate_limited", "too many keys to fetch", retry_after=60)
        self.fetches.append((now, source))

    def keep(self, origin, row, document, links, until):
        key, old, changed = document["public_key"], [[l["key"], moment(l["until"])] for l in links], 0
        known = [wire.key_bytes(key)] + [wire.key_bytes(k) for k, _ in old]
        if row and wire.key_bytes(row["key"]) not in known:
            self.store.find("key_changed", origin, pinned=row["key"], shown=key)
            key, old, changed = row["key"], row["old"], 1
        elif row:
            # What an old key may still vouch for does not grow by what is told later.
            for old_key, limit in row["old"]:
                old = [entry for entry in old if entry[0] != old_key] + [[old_key, limit]]
        endpoint = document["endpoint"].rstrip("/")
        self.store.run("INSERT OR REPLACE INTO pins VALUES (?, ?, ?, ?, ?, ?)", origin, key, wire.dump(old), endpoint,
                       until, changed)
        return self.pinned(origin)

    def key_at(self, origin, key_id, ms, source=None):
        """Checks that an origin's key is or, at that time, was this one."""
        def until():
            """When the key's time ends; None for a key that is not the origin's."""
            if wire.same_key(row["key"], key_id):
                return float("inf")
            return next((until for key, until in row["old"] if wire.same_key(key, key_id)), None)

        row, is_fresh = self.pinned(origin), False
        if not row or (row["changed"] and row["fresh_until"] < now_ms()):
            row, is_fresh = self.pin(origin, source=source), True
        if not row["changed"] and not is_fresh and until() is None and origin != self.node.origin:
            row = self.pin(origin, refresh=True, source=source)
        if row["changed"]:
            raise Problem(401, "key_changed", f"the key of {origin} is another than the one that is pinned")
        if until() is None:
            raise Problem(401, "bad_signature", f"this is not the key of {origin}")
        if ms >= until():
            raise Problem(401, "bad_signature", f"{origin} gave this key up before")

    def trust(self, origin):
        self.store.run("DELETE FROM pins WHERE origin = ?", origin)
        self.failed.pop(origin, None)
        return self.pin(origin)

    # Signed requests

    def signed(self, destination, method, uri, body, other=(), key=None):
        """The fields and the header of a request; `other` replaces fields, for what is wrong on purpose."""
        key = key or self.node.key
        fields = wire.request_fields(self.node.origin, destination, key.id, now_ms(), wire.new_nonce(), method, uri, body)
        fields |= dict(other)
        named = {name: fields[name] for name in ("origin", "destination", "key_id", "ts", "nonce")}
        return fields, named | {"sig": key.sign(REQUEST, fields)}

    def request(self, destination, method, path, value=None, body=None, timeout=30):
        """A signed request; its answer with its status, whoever's it is. An answer that is not proven is none, unless
        it refuses."""
        pin = self.pin(destination)
        if pin["changed"]:
            raise Problem(401, "key_changed", f"the key of {destination} is another than the one that is pinned")
        body = body if body is not None else wire.dump(value).encode() if value is not None else b""
        uri = urlsplit(pin["endpoint"]).path + path
        fields, header = self.signed(destination, method, uri, body)
        status, headers, data = self.exchange(pin["endpoint"], method, uri, [(HEADER, wire.authorization(**header))],
                                              body, timeout)
        proof = self.prove(destination, status, headers.get_all(HEADER), data, fields, body)
        if proof != "right" and status < 400:
            self.store.find("answer_not_proven", f"{destination} {method} {path.split('?')[0]}", why=proof, status=status)
            raise Away(f"{destination} did not prove its answer: {proof}")
        return Answer(status, headers, data, proof)

    def prove(self, origin, status, headers, data, request, request_body, content_sha256=None):
        """Whether an answer is that origin's, to this request; else what is wrong with it."""
        if not headers:
            return "unsigned"
        try:
            given = wire.parse_authorization(headers[0])
            if len(headers) > 1 or given.get("nonce", request["nonce"]) != request["nonce"]:
                return "two headers, or the nonce of another request"
            if given.get("origin") != origin or given.get("destination") != request["origin"]:
                return "another origin or destination"
            ts, sha = int(given["ts"]), content_sha256 or wire.sha256_hex(data)
            fields = wire.response_fields(origin, given["key_id"], ts, status, sha, request)
            if not wire.verify(given["key_id"], RESPONSE, fields, given["sig"]):
                return "bad signature: " + wire.why_not(
                    given["key_id"], given["sig"], wire.response_readings(fields, request, request_body))
            if abs(now_ms() - ts) > self.node.window:
                return "of another time"
            self.key_at(origin, given["key_id"], ts)
        except (Problem, Away, KeyError, ValueError) as error:
            return repr(error)
        return "right"

    def ask(self, destination, method, path, value=None, **how):
        """The value of an answer that is no refusal."""
        answer = self.request(destination, method, path, value, **how)
        if answer.status >= 400:
            raise refusal(destination, answer)
        return wire.parse(answer.body, depth_max=wire.DEPTH_MAX + 4) if answer.body else {}

    def stream(self, destination, path, value, timeout):
        """A signed request whose answer comes as events: each, and at last whether the answer was proven."""
        pin, body = self.pin(destination), wire.dump(value).encode()
        uri = urlsplit(pin["endpoint"]).path + path
        fields, header = self.signed(destination, "POST", uri, body)
        headers = [(HEADER, wire.authorization(**header)), ("Accept", "text/event-stream")]
        try:
            connection, response = self.send(pin["endpoint"], "POST", uri, headers, body, timeout)
            with connection.sock or response:
                if "text/event-stream" not in response.headers.get("Content-Type", ""):
                    data = response.read(ANSWER_MAX)
                    proof = self.prove(destination, response.status, response.headers.get_all(HEADER), data, fields, body)
                    yield {"status": response.status, "proof": proof, "answer": readable(data)}
                    return
                hashed, proof, event = bytes(32), "unsigned", {}
                for line in response:
                    line = line.rstrip(b"\r\n").decode()
                    name, _, text = line.partition(":")
                    text = text.removeprefix(" ")
                    if line and name:
                        event[name] = event[name] + "\n" + text if name in event else text
                    elif not line and event.get("event") == "signature":
                        proof = self.prove(destination, response.status, [event["data"]], b"", fields, body, hashed.hex())
                        event = {}
                    elif not line and event:
                        hashed = wire.chain(hashed, event.get("data", "").encode())
                        yield {"event": event.get("event"), "data": readable(event.get("data", "").encode())}
                        event = {}
                yield {"proof": proof}
        except (OSError, http.client.HTTPException) as error:
            raise Away(f"{destination}: {error!r}") from error


def readable(data):
    """JSON where it is, else text, as it is shown."""
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")


def refusal(destination, answer):
    value = readable(answer.body)
    value = value if isinstance(value, dict) else {}
    retry = answer.headers.get("Retry-After", "")
    return Problem(answer.status, str(value.get("code", "unknown")), f"{destination}: {value.get('detail', '')}",
                   value.get("pointer"), int(retry) if retry.isdigit() else None)
