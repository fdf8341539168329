"""aiortc_file.py send|take FILE: a file over a data channel, as fast as aiortc sends.

The sender prints its offer as a line and reads the answer as a line; the other side does the reverse, and prints
`done` once it has written everything. There are no checksums and nothing is asked.
"""
import asyncio
import json
import sys

from aiortc import RTCPeerConnection, RTCSessionDescription

PIECE = 16 * 1024
AHEAD = 1024 * 1024


async def line():
    return await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


def described(connection):
    return json.dumps({"type": connection.localDescription.type, "sdp": connection.localDescription.sdp})


async def heard(connection):
    said = json.loads(await line())
    await connection.setRemoteDescription(RTCSessionDescription(said["sdp"], said["type"]))


async def send(path):
    connection = RTCPeerConnection()
    channel = connection.createDataChannel("file")
    opened, room = asyncio.Event(), asyncio.Event()
    channel.bufferedAmountLowThreshold = AHEAD // 2
    channel.on("open", opened.set)
    channel.on("bufferedamountlow", room.set)
    await connection.setLocalDescription(await connection.createOffer())
    print(described(connection), flush=True)
    await heard(connection)
    await opened.wait()
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            while channel.bufferedAmount > AHEAD:
                room.clear()
                await room.wait()
            channel.send(piece)
    channel.send("end")
    await line()


async def take(path):
    connection, done = RTCPeerConnection(), asyncio.Event()
    with open(path, "wb") as file:

        @connection.on("datachannel")
        def _(channel):
            channel.on("message", lambda data: done.set() if data == "end" else file.write(data))

        await heard(connection)
        await connection.setLocalDescription(await connection.createAnswer())
        print(described(connection), flush=True)
        await done.wait()
    print("done", flush=True)
    await line()


asyncio.run({"send": send, "take": take}[sys.argv[1]](sys.argv[2]))
