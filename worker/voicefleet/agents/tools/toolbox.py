"""The way to the tools of one MCP server, which may be slow, wrong, or gone: a caller on the
telephone hears a sentence all the same.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from livekit.agents import RunContext, ToolError, function_tool
from livekit.agents.llm import RawFunctionTool, Tool, Toolset
from livekit.agents.llm.mcp import MCPServer, MCPToolResultContext

logger = logging.getLogger(__name__)

AnyTool = RawFunctionTool[..., Any]

# The greeting is being spoken meanwhile.
CONNECT_WITHIN_SECONDS = 10.0
# Longer than this nobody waits on the telephone; said after a while of it.
ANSWER_WITHIN_SECONDS = 8.0
FILLER, FILLER_AFTER_SECONDS = "One moment, please.", 1.5

# A server may answer anything. The LLM pays for each word and reads all of it.
LONGEST_ANSWER_CHARACTERS = 2_000

NO_ANSWER = (
    "{tool} did not answer, and it is not known whether it did what was asked: say that you cannot"
    " confirm it now, and do not call it again for the same"
)
GONE = (
    "{tool} cannot be reached at the moment: say so and apologise. It may work again in a minute,"
    " if the caller wants to try once more"
)


class Toolbox:
    """The tools of one server. One that has died is connected to again at the next call."""

    def __init__(self, server: MCPServer) -> None:
        self._server = server
        self._connecting = asyncio.Lock()
        self._is_lost = True

    async def open(self) -> list[Tool | Toolset]:
        """Every tool of the server, guarded; none, and a line in the log, if it is out of reach."""
        try:
            await self._connect()
            async with asyncio.timeout(CONNECT_WITHIN_SECONDS):
                return [self._guarded(tool) for tool in await self._server.list_tools()]
        except Exception as error:
            self._is_lost = True
            logger.warning("no tools", extra={"error": f"{type(error).__name__}: {error}"})
            return []

    async def aclose(self) -> None:
        self._is_lost = True
        # What it died of was told when it died.
        with suppress(Exception):
            await self._server.aclose()

    async def _connect(self) -> None:
        async with self._connecting:
            if not self._is_lost:
                return
            await self.aclose()
            async with asyncio.timeout(CONNECT_WITHIN_SECONDS):
                await self._server.initialize()
            self._is_lost = False

    def _guarded(self, tool: AnyTool) -> Tool:
        name = tool.info.name

        async def call(context: RunContext[Any], raw_arguments: dict[str, object]) -> str:
            async with context.with_filler(FILLER, delay=FILLER_AFTER_SECONDS):
                try:
                    await self._connect()
                except Exception as error:
                    raise self._lost(name, GONE, error) from error
                return await self._answer(tool, name, raw_arguments)

        return function_tool(call, raw_schema=tool.info.raw_schema)

    async def _answer(self, tool: AnyTool, name: str, raw_arguments: dict[str, object]) -> str:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                return str(await tool(raw_arguments=raw_arguments))
        except ToolError as error:
            raise ToolError(error.message[:LONGEST_ANSWER_CHARACTERS]) from error
        except Exception as error:
            raise self._lost(name, NO_ANSWER, error) from error

    def _lost(self, name: str, advice: str, error: Exception) -> ToolError:
        self._is_lost = True
        logger.warning("tool failed", extra={"tool": name, "error": type(error).__name__})
        return ToolError(advice.format(tool=name))


def text_of(answer: MCPToolResultContext) -> str:
    """What a tool answers, as text; pictures and sounds are nothing for the telephone."""
    parts: Sequence[Any] = answer.result.content
    texts = [part.text for part in parts if part.type == "text"]
    if not texts:
        raise ToolError(f"{answer.tool_name} gave no answer in words: say that you do not know")
    return "\n".join(texts)[:LONGEST_ANSWER_CHARACTERS]
