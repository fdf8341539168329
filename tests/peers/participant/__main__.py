"""participant COMMAND --state DIR ...: an origin of its own in a federation, written from the protocol's text alone.

`python tests/peers/participant serve --origin beta.test --listen 10.0.0.2:443 --cert cert.pem --key key.pem --ca ca.pem
--state DIR` runs it; every other command talks to what runs, through the socket DIR/control. It prints JSON, one object
a line. `create`, `invite` and `remove` make it a small hub; `attack` breaks one rule of the protocol at a time.
"""
import argparse
import json
import os
import signal
import socket
import sys
import threading

import wire
from attack import Attack, NAMES, old_publish
from client import Away, readable
from door import serve
from node import API, Node, path_of
from store import Store
from wire import Problem, dump


class Control:
    """What the local commands ask for. Each yields what is printed."""

    def __init__(self, node):
        self.node, self.store = node, node.store

    def invitations(self, **_):
        rows = self.store.all("SELECT id, inviter, history FROM channels WHERE state = 'invited'")
        for channel, inviter, history in rows:
            yield {"channel": channel, "inviter": inviter, "history": history}

    def accept(self, channel, **_):
        yield from self.node.accept_invitation(channel)

    def join(self, channel, **_):
        yield from self.node.accept_invitation(channel, must_be_invited=False)

    def leave(self, channel, **_):
        yield from self.node.publish(channel, wire.LEFT, {"member": self.node.origin})

    def publish(self, channel, type, data, count, **_):
        yield from self.node.publish(channel, type, wire.parse(data), count)

    def events(self, channel, follow, after, **_):
        while True:
            with self.store.changed:
                rows = self.store.all("SELECT seq, json FROM events WHERE channel = ? AND seq > ? ORDER BY seq LIMIT 500",
                                      channel, after)
                if not rows and follow:
                    self.store.changed.wait(5)
            for after, text in rows:
                yield json.loads(text)
            if not rows and not follow:
                return
            if not rows:
                # So that the end of who follows is noticed.
                yield None

    def members(self, channel, origin, **_):
        yield self.shown(origin or wire.hub_of(channel), "GET", path_of(channel, "members"))

    def fetch(self, channel, origin, query, **_):
        yield self.shown(origin or wire.hub_of(channel), "GET", path_of(channel, "events" + (query and "?" + query)))

    def heads(self, channel, origin, **_):
        yield self.shown(origin or wire.hub_of(channel), "POST", API + "/heads", {"channels": [channel]})

    def look(self, **_):
        self.node.look_around()
        yield {"looked": True}

    def capabilities(self, origin, **_):
        yield self.shown(origin, "GET", API + "/capabilities")

    def health(self, origin, **_):
        yield self.shown(origin, "GET", API + "/health")

    def shown(self, origin, method, path, value=None, **how):
        answer = self.node.client.request(origin, method, path, value, **how)
        return {"status": answer.status, "proof": answer.proof, "answer": readable(answer.body)}

    def call(self, target, tool, params, stream, call_id, timeout_ms, **_):
        value = {"call_id": call_id or wire.new_nonce(), "target": target, "tool": tool, "params": wire.parse(params)}
        value |= {"timeout_ms": timeout_ms} if timeout_ms else {}
        origin, limit = target.rpartition("/")[0], (timeout_ms or 60_000) / 1000 + 10
        if stream:
            yield from self.node.client.stream(origin, API + "/call", value, limit)
        else:
            yield self.shown(origin, "POST", API + "/call", value, timeout=limit)

    def status(self, **_):
        yield self.node.status()

    def export(self, channel, **_):
        yield from self.node.export(channel)

    def trust(self, origin, **_):
        yield self.node.client.trust(origin)

    def rotate(self, forget, **_):
        yield self.node.rotate(forget)

    def create(self, channel, history, **_):
        yield from self.node.create(channel, history)

    def invite(self, channel, origin, **_):
        yield from self.node.invite(channel, origin)

    def remove(self, channel, origin, **_):
        yield from self.node.publish(channel, wire.REMOVED, {"member": origin})

    def old_publish(self, channel, type, data, timestamp, **_):
        yield old_publish(Attack(self.node, wire.hub_of(channel)), channel, type, wire.parse(data), timestamp)

    def attack(self, name, **how):
        for seen in Attack(self.node, **how).run(name):
            yield {"attack": name} | seen


def socket_name(folder, stack=[]):
    """The control socket by way of its folder's descriptor: names of sockets must be short."""
    stack.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
    return f"/proc/self/fd/{stack[-1]}/control"


def answer_commands(node, folder):
    name = socket_name(folder)
    if os.path.lexists(name):
        os.unlink(name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(name)
    os.chmod(name, 0o600)
    listener.listen(16)

    def answer(connection):
        with connection, connection.makefile("rw", encoding="utf-8") as file:
            def tell(value):
                file.write(dump(value) + "\n" if value is not None else "\n")
                file.flush()

            try:
                words = json.loads(file.readline())
                for value in getattr(Control(node), words.pop("command").replace("-", "_"))(**words):
                    tell(value)
            except (BrokenPipeError, ConnectionResetError):
                pass
            except Problem as problem:
                tell({"error": problem.body()})
            except (Away, SystemExit) as error:
                tell({"error": {"detail": str(error)}})
            except Exception as error:
                tell({"error": {"detail": repr(error)}})
                raise

    while True:
        threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


def run(words):
    """Serves until it is told to end."""
    if not words.cert and not words.insecure_loopback:
        raise SystemExit("--cert and --key are needed, or --insecure-loopback for an origin on this machine")
    os.umask(0o077)
    store = Store(words.state)
    node = Node(store, words.origin, words.accept, words.window * 1000, words.heads_every, words.heads_max,
                words.strict_heads, words.retry_max, ca=words.ca, insecure_loopback=words.insecure_loopback, resolve=words.resolve)
    scheme = "https" if words.cert else "http"
    port = "" if ":" in words.origin.rpartition("]")[2] else ":443"
    node.start(words.endpoint or f"{scheme}://{words.origin}{port}")
    server = serve(node, words.listen, words.cert, words.key)
    threading.Thread(target=answer_commands, args=(node, words.state), daemon=True).start()
    print(dump({"origin": node.origin, "key": node.key.id, "endpoint": node.endpoint}), flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    server.shutdown()


def ask(words):
    """Has a command done by what runs, prints what comes, and fails where that is an error."""
    words = vars(words)
    connection, is_right = socket.socket(socket.AF_UNIX), True
    try:
        connection.connect(socket_name(words.pop("state")))
    except OSError as error:
        raise SystemExit(f"nothing serves here: {error}") from error
    with connection.makefile("rw", encoding="utf-8") as file:
        file.write(dump(words) + "\n")
        file.flush()
        for line in file:
            if line.strip():
                print(line, end="", flush=True)
                is_right = not line.startswith('{"error":')
    return 0 if is_right else 1


def arguments():
    parser = argparse.ArgumentParser(prog="participant", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name, *positional, **options):
        sub = commands.add_parser(name)
        sub.add_argument("--state", required=True, metavar="DIR")
        for word in positional:
            sub.add_argument(word.rstrip("?"), nargs="?" if word.endswith("?") else None)
        for word, default in options.items():
            flag = "--" + word.replace("_", "-")
            if isinstance(default, bool):
                sub.add_argument(flag, action="store_true")
            else:
                sub.add_argument(flag, default=default, type=type(default) if default is not None else str)
        return sub

    sub = command("serve", cert=None, key=None, ca=None, insecure_loopback=False, endpoint=None, window=60,
                  heads_every=60.0, heads_max=500, strict_heads=False, retry_max=600.0)
    sub.add_argument("--origin", required=True)
    sub.add_argument("--accept", choices=("all", "none"), default="none")
    sub.add_argument("--listen", required=True, metavar="HOST:PORT")
    sub.add_argument("--resolve", action="append", default=[], metavar="NAME=HOST:PORT")
    for name in ("invitations", "status", "look"):
        command(name)
    for name in ("accept", "join", "leave", "export"):
        command(name, "channel")
    command("publish", "channel", type="note", data="{}", count=1)
    command("events", "channel", follow=False, after=0)
    command("fetch", "channel", "origin?", query="")
    command("members", "channel", "origin?")
    command("heads", "channel", "origin?")
    command("capabilities", "origin")
    command("health", "origin")
    command("call", "target", "tool", params="{}", stream=False, call_id=None, timeout_ms=0)
    command("trust", "origin")
    command("rotate", forget=False)
    command("create", "channel", history=None)
    command("invite", "channel", "origin")
    command("remove", "channel", "origin")
    command("old-publish", "channel", type="note", data="{}", timestamp="rfc3339")
    sub = command("attack", channel=None, third="gamma.test", method=None, path=None)
    sub.add_argument("name", choices=NAMES)
    sub.add_argument("--target", required=True, metavar="ORIGIN")
    return parser.parse_args()


if __name__ == "__main__":
    # A signal is waited for, by all threads alike.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    given = arguments()
    if given.command != "serve":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    sys.exit(run(given) if given.command == "serve" else ask(given))
