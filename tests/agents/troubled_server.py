"""An MCP server in which everything goes wrong, over stdio, for the tests of the toolbox."""

import asyncio
import os

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("troubled", log_level="CRITICAL")


@server.tool()
def work(text: str) -> str:
    return f"worked on {text}"


@server.tool()
def refuse() -> str:
    raise ToolError("not on a Sunday: offer Monday")


@server.tool()
def crash() -> str:
    raise OSError("disk 7 has gone")


@server.tool()
async def hang() -> str:
    await asyncio.Event().wait()
    return "never"


@server.tool()
def die() -> str:
    os._exit(1)


@server.tool()
def talk() -> str:
    return "on and " * 100_000


if __name__ == "__main__":
    server.run("stdio")
