"""file_liar.py SOCKET send|receive ...: a program that speaks the file transfer protocol through a node, and lies.

`send PEER SCENE` prints the first thing of interest that the receiver answers, `receive SCENE` prints that it waits.
"""
import asyncio
import hashlib
import json
import sys
import uuid

from websockets.asyncio.client import unix_connect
from websockets.exceptions import ConnectionClosed

SOCKET = sys.argv[1]
CHUNK = 64 * 1024


def say(**what):
    print(json.dumps(what), flush=True)


def connect(path):
    return unix_connect(SOCKET, f"ws://localhost{path}", max_size=None, compression=None)


async def heard(socket, *wanted):
    """The first answer of these kinds, or that the stream has ended."""
    try:
        while True:
            packet = json.loads(await socket.recv())
            if packet["say"] in (*wanted, "failed"):
                return packet
    except ConnectionClosed:
        return {"closed": True}


def offer(files=1, size=100, **more):
    return {"say": "offer", "version": 1, "transfer": str(uuid.uuid4()), "files": files, "bytes": size,
            "names": ["\x1b[2Jname"], **more}


NAMES = {"up": "../../etc/passwd", "deep-up": "a/../../b", "root": "/etc/passwd", "device": "/dev/null",
         "nul": "a\0b", "escape": "\x1b]0;x\x07", "hidden": ".bashrc", "part": "x.comity-part", "long": "x" * 300}


async def send(peer, scene):
    async with connect(f"/control/files/send?peer={peer}") as socket:
        async def tell(*packets):
            try:
                for packet in packets:
                    await socket.send(packet if isinstance(packet, (bytes, str)) else json.dumps(packet))
            except ConnectionClosed:
                pass

        async def begin(path="file", size=10, **more):
            await tell(offer(**more))
            await heard(socket, "accept")
            await tell({"say": "file", "file": 0, "path": path, "size": size})

        if scene == "link":
            await tell(offer(files=2))
            await heard(socket, "accept")
            await tell({"say": "file", "file": 0, "path": "link", "size": 0, "folder": True})
            await heard(socket, "skip")
            await tell({"say": "file", "file": 1, "path": "link/x", "size": 10})
        elif scene == "no-folder":
            await begin("a/b/c")
        elif scene in NAMES:
            await begin(NAMES[scene])
        elif scene == "hold":
            await begin(str(uuid.uuid4()))
            say(**await heard(socket, "take"))
            await asyncio.Event().wait()
        elif scene == "checksum":
            await begin()
            await heard(socket, "take")
            await tell(b"0123456789", {"say": "end", "file": 0, "sha256": hashlib.sha256(b"other").hexdigest()})
        elif scene == "too-much":
            await begin()
            await heard(socket, "take")
            await tell(b"0123456789more")
        elif scene == "early-end":
            await begin()
            await heard(socket, "take")
            await tell({"say": "end", "file": 0, "sha256": hashlib.sha256(b"").hexdigest()})
        elif scene == "more-files":
            await begin()
            await tell({"say": "file", "file": 1, "path": "more", "size": 1})
        elif scene == "more-bytes":
            await begin(size=101)
        elif scene == "endless-names":
            await tell(offer(files=100_000))
            await heard(socket, "accept")
            await tell(*({"say": "file", "file": n, "path": f"n{n}", "size": 0} for n in range(1000)))
        elif scene == "garbage":
            await tell("{]", b"\0" * CHUNK)
        elif scene == "huge-text":
            await tell('"' + "x" * (10 * CHUNK) + '"')
        elif scene == "too-large":
            await tell(offer(size=2**63))
        say(**await heard(socket, "skip"))


async def receive(scene):
    async with connect("/control/files/receive?anyone=true") as socket:
        say(waiting=True)
        await socket.recv()
        await heard(socket, "offer")
        if scene == "gone":
            return
        version = 7 if scene == "version" else 1
        await socket.send(json.dumps({"say": "accept", "version": version}))
        await heard(socket, "file")
        answer = {
            "beyond": {"say": "take", "file": 0, "from": 2**40},
            "backwards": {"say": "got", "bytes": 2**40},
            "early-done": {"say": "done", "file": 0},
            "version": {"say": "got", "bytes": 0},
            "garbage": {"say": "\x1b[2J"},
            "shout": {"say": "failed", "why": "other", "detail": "\x1b]0;x\x07 \x1b[2J"},
        }[scene]
        await socket.send(json.dumps(answer))
        await heard(socket)


if sys.argv[2] == "send":
    asyncio.run(send(*sys.argv[3:]))
else:
    asyncio.run(receive(*sys.argv[3:]))
