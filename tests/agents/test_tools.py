"""The agent of MCP tools: the example server over both transports, and one in trouble."""

import asyncio
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from livekit.agents.llm.mcp import MCPServer, MCPServerHTTP, MCPServerStdio

from tests.agents import text_call
from tests.agents.scripted_llm import Call, Reply
from tests.agents.text_call import TextCall
from tests.waiting import wait_until
from voicefleet import settings as settings_module
from voicefleet.agents.tools import toolbox
from voicefleet.agents.tools.agent import EXAMPLE, GREETING, WITHOUT_TOOLS, ParcelAgent, server_of
from voicefleet.agents.tools.toolbox import FILLER, LONGEST_ANSWER_CHARACTERS, Toolbox
from voicefleet.lab import conversation

pytestmark = pytest.mark.slow

SCRIPT = conversation.load("tools")
TROUBLED = [sys.executable, str(Path(__file__).with_name("troubled_server.py"))]


def over_stdio(command: Sequence[str]) -> MCPServer:
    return MCPServerStdio(command[0], list(command[1:]), tool_result_resolver=toolbox.text_of)


@asynccontextmanager
async def called(command: Sequence[str], *replies: Reply) -> AsyncIterator[TextCall]:
    """A call to the agent with the tools of a program over stdio, after its greeting."""
    agent = ParcelAgent(Toolbox(over_stdio(command)))
    async with text_call.answered_by(agent, *replies) as call:
        yield call


async def outcome(call: TextCall, text: str) -> tuple[bool, str]:
    """Whether the tool that answered `text` refused, and what it said."""
    turn = await call.say(text)
    item = turn.expect.next_event(type="function_call_output").event().item
    return item.is_error, item.output


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolbox, "ANSWER_WITHIN_SECONDS", 0.5)
    monkeypatch.setattr(toolbox, "FILLER_AFTER_SECONDS", 0.1)


async def test_the_demo_call_is_one_that_the_example_server_answers() -> None:
    replies: list[Reply] = []
    for exchange in SCRIPT.exchanges:
        replies += [Call(tool.name, tool.arguments) for tool in exchange.tools]
        replies.append(exchange.agent)
    async with called(EXAMPLE, *replies) as call:
        for exchange in SCRIPT.exchanges:
            await call.say(exchange.caller)
        assert call.spoken == [SCRIPT.greeting, *(e.agent for e in SCRIPT.exchanges)]
        assert text_call.tool_outputs(call.session.history) == [
            "Parcel 4271 is in the depot in Boston and arrives tomorrow morning, at the door.",
            "Parcel 4271 will wait at the station, tomorrow morning.",
        ]


async def test_wrong_requests_are_refused_with_advice_and_the_call_goes_on() -> None:
    # One call for all of them: a server takes seconds to start on a busy machine.
    wrong = [
        (Call("track_parcel", {"number": "9999"}), "there is no parcel 9999: read the number back"),
        (Call("track_parcel", {"number": "four two"}), "number"),
        (Call("track_parcel", {"number": "'; drop table parcels"}), "number"),
        (Call("track_parcel", {"number": None}), "number"),
        (Call("track_parcel", "not json"), "track_parcel"),
        (Call("redirect_parcel", {"number": "8830"}), "place"),
        (Call("redirect_parcel", {"number": "8830", "place": "the moon"}), "offer station, bakery"),
        (Call("redirect_parcel", {"number": "1056", "place": "bakery"}), "was delivered"),
        (Call("burn_parcel", {"number": "8830"}), "track_parcel"),
    ]
    replies: list[Reply] = [reply for request, _ in wrong for reply in (request, "Sorry.")]
    where = Call("track_parcel", {"number": "8830"})
    async with called(EXAMPLE, *replies, where, "On its way.") as call:
        for request, advice in wrong:
            is_error, output = await outcome(call, "Do it.")
            assert is_error, request
            assert advice in output
        assert await outcome(call, "Where is it?") == (
            False,
            "Parcel 8830 is on the van and arrives today, at the door.",
        )


async def test_a_refusal_is_passed_on_and_a_crash_keeps_its_details() -> None:
    async with called(TROUBLED, Call("refuse"), "Monday?", Call("crash"), "Sorry.") as call:
        is_error, output = await outcome(call, "Please.")
        assert is_error
        assert "not on a Sunday: offer Monday" in output
        is_error, output = await outcome(call, "Please.")
        assert is_error
        assert "disk" not in output


async def test_a_tool_that_hangs_is_bridged_given_up_and_not_called_again(impatient: None) -> None:
    work = Call("work", {"text": "it"})
    async with called(TROUBLED, Call("hang"), "I cannot confirm it.", work, "Done.") as call:
        is_error, output = await outcome(call, "Please.")
        assert is_error
        assert "do not call it again" in output
        assert FILLER in call.spoken
        assert call.spoken[-1] == "I cannot confirm it."
        assert await outcome(call, "And now?") == (False, "worked on it")


async def test_a_server_that_dies_in_a_call_is_started_again_at_the_next_one() -> None:
    work = Call("work", {"text": "it"})
    async with called(TROUBLED, Call("die"), "I cannot confirm it.", work, "Done.") as call:
        is_error, output = await outcome(call, "Please.")
        assert is_error
        assert "not known whether it did" in output
        assert await outcome(call, "And now?") == (False, "worked on it")


async def test_a_server_that_has_died_between_two_calls_and_stays_away_is_told(
    tmp_path: Path,
) -> None:
    once = Path(shutil.copy(TROUBLED[1], tmp_path))
    work = Call("work", {"text": "it"})
    async with called([sys.executable, str(once)], Call("die"), "Oh.", work, "Sorry.") as call:
        shutil.move(once, tmp_path / "gone")
        await call.say("Please.")
        is_error, output = await outcome(call, "And now?")
        assert is_error
        assert "cannot be reached" in output


async def test_an_answer_without_end_is_cut() -> None:
    async with called(TROUBLED, Call("talk"), "Well.") as call:
        _, output = await outcome(call, "Tell me.")
        assert len(output) == LONGEST_ANSWER_CHARACTERS


@pytest.mark.parametrize("command", [["/no/such/program"], [sys.executable, "-c", "exit(1)"]])
async def test_without_its_server_the_agent_greets_and_knows_that_it_has_no_tools(
    command: list[str],
) -> None:
    async with called(command, "I am sorry, my tools are out of order.") as call:
        assert call.spoken == [GREETING]
        await call.say("Where is my parcel?")
        instructions = call.model.requests[0].messages()[0].text_content or ""
        assert instructions.endswith(WITHOUT_TOOLS)


async def test_the_example_answers_over_http_as_well() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(*EXAMPLE, "--http", str(port))
    try:
        await wait_until(lambda: is_open(port), because="the example listens")
        server = MCPServerHTTP(
            f"http://127.0.0.1:{port}/mcp",
            transport_type="streamable_http",
            tool_result_resolver=toolbox.text_of,
        )
        where = Call("track_parcel", {"number": "8830"})
        agent = ParcelAgent(Toolbox(server))
        async with text_call.answered_by(agent, where, "Today.", where, "Sorry.") as call:
            assert (await outcome(call, "Where is it?"))[1].startswith("Parcel 8830 is on the van")
            process.kill()
            await process.wait()
            is_error, output = await outcome(call, "And now?")
            assert is_error
            assert "track_parcel" in output
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.usefixtures("clean_environment")
def test_the_settings_choose_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = server_of(settings_module.load().tools)
    assert isinstance(chosen, MCPServerStdio)
    assert [chosen.command, *chosen.args] == EXAMPLE
    monkeypatch.setenv("VOICEFLEET_MCP_COMMAND", "npx 'my server'")
    chosen = server_of(settings_module.load().tools)
    assert isinstance(chosen, MCPServerStdio)
    assert (chosen.command, chosen.args) == ("npx", ["my server"])
    monkeypatch.setenv("VOICEFLEET_MCP_URL", "https://tools.example/mcp")
    monkeypatch.setenv("VOICEFLEET_MCP_TOKEN", "secret")
    chosen = server_of(settings_module.load().tools)
    assert isinstance(chosen, MCPServerHTTP)
    assert chosen.headers == {"Authorization": "Bearer secret"}
