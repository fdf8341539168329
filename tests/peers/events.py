"""events.py URL: reads `GET /dashflow/events` with Python `websockets`, from the protocol's text alone.

Prints every frame, one JSON object a line; every line of its standard input is sent as a frame.
"""
import asyncio
import sys

from websockets.asyncio.client import connect


async def main():
    async with connect(sys.argv[1], proxy=None) as socket:
        async def send():
            reader = asyncio.StreamReader()
            await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
            while line := await reader.readline():
                await socket.send(line.decode().rstrip("\n"))
            await socket.close()

        sending = asyncio.create_task(send())
        async for frame in socket:
            print(frame, flush=True)
        sending.cancel()


asyncio.run(main())
