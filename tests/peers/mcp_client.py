"""mcp_client.py http URL | stdio PROGRAM ARGUMENTS...: the official Python client drives the fifteen tools.

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
NETWORK = {f"network_{name}" for name in (
    "status", "peers", "send_message", "broadcast", "inbox", "digest", "subscribe", "unsubscribe", "set_attention")}
MESH = {"mesh_search", "mesh_index", "knowledge_share", "knowledge_request", "task_submit", "task_status"}


async def drive(session):
    await session.initialize()
    tools = (await session.list_tools()).tools
    assert {tool.name for tool in tools} == NETWORK | MESH, [tool.name for tool in tools]
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
    await drive_mesh(call, refused)
    print("drove all fifteen")


async def drive_mesh(call, refused):
    indexed = await call("mesh_index", url="https://example.org/tea", title="Tea", text="Green tea is brewed warm.",
                         metadata={"team": "tea"})
    assert indexed["outcome"] == "added", indexed
    found = await call("mesh_search", query="green tea", filter={"team": "tea"})
    assert found["results"][0]["doc_id"] == indexed["doc_id"] and found["nodes_queried"] >= 1, found
    assert (await call("mesh_search", query="green tea", filter={"team": "bread"}, limit=1))["results"] == []
    await refused("mesh_search", query="", limit=1)
    await refused("mesh_search", query="tea", limit=0)
    await refused("mesh_index", text="!!!")
    shared = await call("knowledge_share", topic="tea", content="it wants 70 degrees", confidence=0.8, source="a tin")
    known = (await call("knowledge_request", topic="tea", min_confidence=0.5))["knowledge"]
    assert [(one["id"], one["trust"], one["source"]) for one in known] == [(shared["id"], "own", "a tin")], known
    assert (await call("knowledge_request", topic="tea", min_confidence=0.9))["knowledge"] == []
    await refused("knowledge_share", topic="tea", content="too sure", confidence=1.5)
    await refused("knowledge_share", topic="", content="of nothing", confidence=1)
    await refused("knowledge_request", topic="tea", limits=3)
    submitted = await call("task_submit", capability="nobody/has-it")
    assert (await call("task_status", id=submitted["id"]))["state"] == "queued"
    await refused("task_submit", capability="")


async def main():
    if sys.argv[1] == "http":
        client = create_mcp_http_client(headers={"Authorization": f"Bearer {os.environ['TOKEN']}"})
        transport = streamable_http_client(sys.argv[2], http_client=client)
    else:
        transport = stdio_client(StdioServerParameters(command=sys.argv[2], args=sys.argv[3:]))
    async with transport as streams, ClientSession(streams[0], streams[1]) as session:
        await drive(session)


asyncio.run(main())
