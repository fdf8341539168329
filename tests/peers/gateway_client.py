"""gateway_client.py stdio PROGRAM ARGUMENTS...: the official Python client, which does what it reads on standard input, a
JSON object a line: {"list": true}, {"call": NAME, "arguments": {}}. It writes a JSON object a line: {"tools"} (but for
the node's own), {"progress"}, {"result"}, {"failed"}, and {"changed"} when it is told that the list is another one.
"""
import asyncio
import json
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


def say(value):
    print(json.dumps(value), flush=True)


def plain(value):
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


async def heard(message):
    if "list_changed" in str(getattr(message, "method", getattr(getattr(message, "root", None), "method", ""))):
        say({"changed": True})


async def progressed(progress, total, message):
    say({"progress": {"progress": progress, "total": total, "message": message}})


async def main():
    transport = stdio_client(StdioServerParameters(command=sys.argv[2], args=sys.argv[3:]))
    async with transport as streams, ClientSession(streams[0], streams[1], message_handler=heard) as session:
        await session.initialize()
        say({"ready": True})
        while line := await asyncio.to_thread(sys.stdin.readline):
            wanted = json.loads(line)
            try:
                if wanted.get("list"):
                    tools = (await session.list_tools()).tools
                    say({"tools": [plain(tool) for tool in tools if "__" in tool.name]})
                else:
                    arguments = wanted.get("arguments", {})
                    said = await session.call_tool(wanted["call"], arguments, progress_callback=progressed)
                    say({"result": plain(said)})
            except Exception as error:
                say({"failed": str(error)})


asyncio.run(main())
