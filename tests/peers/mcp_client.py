"""mcp_client.py http URL | stdio PROGRAM ARGUMENTS...: the official Python client drives the nine tools.

Every result is checked against the tool's own output schema, by jsonschema as well as by the client.
TOKEN is the bearer token for http; PEER is the id of a peer that may be written to.
"""
import asyncio
import os
import sys

import jsonschema
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

PEER = os.environ["PEER"]
NINE = {f"network_{name}" for name in (
    "status", "peers", "send_message", "broadcast", "inbox", "digest", "subscribe", "unsubscribe", "set_attention")}


async def drive(session):
    await session.initialize()
    tools = (await session.list_tools()).tools
    assert {tool.name for tool in tools} == NINE, [tool.name for tool in tools]
    again = (await session.list_tools()).tools
    assert [tool.name for tool in tools] == [tool.name for tool in again], "the list is deterministic"
    schemas = {tool.name: tool for tool in tools}
    for tool in tools:
        jsonschema.Draft202012Validator.check_schema(tool.input_schema)
        jsonschema.Draft202012Validator.check_schema(tool.output_schema)

    async def call(name, **arguments):
        jsonschema.validate(arguments, schemas[name].input_schema)
        result = await session.call_tool(name, arguments)
        assert not result.is_error, result
        jsonschema.validate(result.structured_content, schemas[name].output_schema)
        return result.structured_content

    async def refused(name, **arguments):
        try:
            result = await session.call_tool(name, arguments)
        except Exception:
            return
        assert result.is_error, result

    status = await call("network_status")
    assert status["name"] == "ann", status
    peers = await call("network_peers")
    assert [peer["id"] for peer in peers["peers"]] == [PEER], peers
    assert (await call("network_peers", capability="fly"))["peers"] == []
    sent = await call("network_send_message", peer_id=PEER, channel="_suggestions", payload={"suggestion": "from an agent"})
    assert sent["message_id"], sent
    await call("network_broadcast", channel="_status", payload={"working_on": "tests"}, priority="background")
    await refused("network_broadcast", channel="_status", payload={}, priority="urgent")
    await refused("network_broadcast", channel="_status", payload={})
    inbox = await call("network_inbox")
    item = next(item for item in inbox["items"] if item["payload"] == {"suggestion": "read me"})
    assert item["trust"] == "verified", item
    assert (await call("network_inbox", ack=[one["arrival"] for one in inbox["items"]]))["items"] == []
    await call("network_digest", clear=False)
    await call("network_digest")
    await call("network_subscribe", channel="custom:agents")
    assert "custom:agents" in (await call("network_status"))["subscriptions"]
    await call("network_unsubscribe", channel="custom:agents")
    await call("network_set_attention", mode="realtime")
    await refused("network_set_attention", mode="asleep")
    assert (await call("network_status"))["attention_mode"] == "realtime"
    await call("network_set_attention", mode="focused")
    print("drove all nine")


async def main():
    if sys.argv[1] == "http":
        client = create_mcp_http_client(headers={"Authorization": f"Bearer {os.environ['TOKEN']}"})
        transport = streamable_http_client(sys.argv[2], http_client=client)
    else:
        transport = stdio_client(StdioServerParameters(command=sys.argv[2], args=sys.argv[3:]))
    async with transport as streams, ClientSession(streams[0], streams[1]) as session:
        await drive(session)


asyncio.run(main())
