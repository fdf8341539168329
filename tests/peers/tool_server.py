"""tool_server.py: an MCP server of the official Python SDK on standard input and output, with a structured result."""

import asyncio

from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("sums")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers"""
    return a + b


@server.tool()
async def steps(count: int, context: Context) -> str:
    """Takes some steps"""
    for step in range(1, count + 1):
        await context.report_progress(step, count, f"step {step}")
        # A client that has the result reads no progress any more.
        await asyncio.sleep(0.05)
    return "arrived"


@server.tool()
def fails() -> str:
    """Fails"""
    raise ValueError("it cannot be done")


server.run("stdio")
