"""The telephone of a parcel service, whose tools come from an MCP server: yours, or the example."""

import shlex
import sys
from pathlib import Path

from livekit.agents import Agent, AgentServer, AgentSession, JobContext
from livekit.agents.llm.mcp import MCPServer, MCPServerHTTP, MCPServerStdio

from voicefleet import build_session, play_background_sound, settings_of
from voicefleet.agents import closing, silence
from voicefleet.settings.agents import Tools

from . import toolbox
from .toolbox import ANSWER_WITHIN_SECONDS, Toolbox

GREETING = "Hello, this is the parcel service. What can I do for you?"
FOLDER = Path(__file__).parent
PROMPT = (FOLDER / "prompt.md").read_text(encoding="utf-8")
EXAMPLE = [sys.executable, str(FOLDER / "parcels.py")]
WITHOUT_TOOLS = """
# In this call
Your tools are out of order. Say so when the caller needs one, apologise, and ask to call again
later.
"""

server = AgentServer()


class ParcelAgent(Agent):
    """Greets while it connects to its tools; without them it says that it has none."""

    def __init__(self, box: Toolbox) -> None:
        super().__init__(instructions=PROMPT)
        self._box = box

    async def on_enter(self) -> None:
        self.session.say(GREETING)
        tools = await self._box.open()
        if tools:
            await self.update_tools(tools)
        else:
            await self.update_instructions(PROMPT + WITHOUT_TOOLS)

    async def on_exit(self) -> None:
        await self._box.aclose()


def server_of(settings: Tools) -> MCPServer:
    """The MCP server of the settings. Ours is asked to give up after the toolbox has."""
    limit_seconds = 2 * ANSWER_WITHIN_SECONDS
    if settings.url is not None:
        token = settings.token.get_secret_value() if settings.token else None
        return MCPServerHTTP(
            settings.url,
            transport_type="streamable_http",
            headers={"Authorization": f"Bearer {token}"} if token else {},
            client_session_timeout_seconds=limit_seconds,
            tool_result_resolver=toolbox.text_of,
        )
    command, *arguments = shlex.split(settings.command) if settings.command else EXAMPLE
    return MCPServerStdio(
        command,
        arguments,
        client_session_timeout_seconds=limit_seconds,
        tool_result_resolver=toolbox.text_of,
    )


@server.rtc_session(agent_name="tools")
async def answer(ctx: JobContext) -> None:
    """One call, with a connection to the tools of its own."""
    box = Toolbox(server_of(settings_of(ctx.proc).tools))
    call: AgentSession[None] = build_session(ctx.proc)
    closing.watch(call)
    silence.watch(call)
    await call.start(agent=ParcelAgent(box), room=ctx.room)
    await ctx.connect()
    await play_background_sound(ctx, call)
