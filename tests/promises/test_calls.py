"""What the README promises of a call, through the same commands and the same stack."""

import json
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.promises.conftest import RunStack
from tests.promises.test_pod import logged
from tests.waiting import wait_until
from voicefleet import errors
from voicefleet.lab import caller, conversation, stack, timeline
from voicefleet.lab.caller import CallPlan
from voicefleet.lab.compare.stage import AGENT_FILE
from voicefleet.lab.stack import PROVIDERS_URL, Stack
from voicefleet.lab.timeline import Timeline

pytestmark = pytest.mark.server

STOCK_CALL = str(Path(__file__).with_name("stock_call.toml"))


async def call(up: Stack, script: str = "assistant", name: str | None = None) -> Timeline:
    plan = CallPlan(
        *(up.url, up.api_key, up.api_secret, name or up.agent_name, conversation.load(script)),
        join_timeout_seconds=30.0,
        answer_timeout_seconds=30.0,
    )
    return await caller.place_call(plan)


async def test_a_call_to_the_assistant_is_understood_by_both_sides(run_stack: RunStack) -> None:
    async with run_stack("assistant") as up:
        done = await call(up)
    assert timeline.verdict(done) is None
    assert [turn.tools for turn in done.turns if turn.tools] == [("opening_hours",)]
    assert [turn.is_interruption for turn in done.turns].count(True) == 1
    assert not any(psutil.pid_exists(part.pid) for part in up.parts)


async def test_an_interview_is_held_to_its_end(run_stack: RunStack) -> None:
    async with run_stack("interview", script="interview") as up:
        done = await call(up, "interview")
    assert timeline.verdict(done) is None


async def test_a_stock_agent_file_is_hosted_unchanged_and_uses_its_tool(
    run_stack: RunStack,
) -> None:
    async with run_stack(str(AGENT_FILE), script=STOCK_CALL) as up:
        assert up.agent_name == "compare"
        done = await call(up, STOCK_CALL)
    assert timeline.verdict(done) is None
    assert done.turns[1].tools == ("opening_hours",)


async def test_a_plugin_that_the_product_knows_nothing_of_hears_thinks_and_speaks(
    run_stack: RunStack,
) -> None:
    """Groq's, which is no dependency of the product: named by settings, and not by a line of code.
    It speaks OpenAI's protocol, and its recogniser does not stream: nobody interrupts here.
    """
    options = json.dumps({"groq": {"base_url": f"{PROVIDERS_URL}/openai/v1"}})
    chosen = {
        f"VOICEFLEET_{part}{suffix}": value
        for part in ("STT", "LLM", "TTS")
        for suffix, value in (("", "groq"), ("_OPTIONS", options))
    }
    async with run_stack("drive_thru", "drive_thru", GROQ_API_KEY=stack.KEY, **chosen) as up:
        done = await call(up, "drive_thru")
        async with aiohttp.ClientSession() as http:
            asked = await http.get(f"{up.providers_url}/lab/requests")
            requests = (await asked.json())["requests"]
    assert timeline.verdict(done) is None
    assert {request["provider"] for request in requests} == {
        "openai-stt",
        "openai-llm",
        "openai-tts",
    }


async def test_a_second_provider_takes_over_where_the_first_is_ill(run_stack: RunStack) -> None:
    """The second recogniser does not stream: its words come after the pause in which LiveKit's
    turn would be over, unless the least delay is raised, as LiveKit's own warning says.
    """
    async with run_stack(
        "assistant",
        behaviour=("cartesia:fault=server_error", "deepgram:fault=server_error"),
        VOICEFLEET_TTS="cartesia,openai",
        VOICEFLEET_STT="deepgram,openai",
    ) as up:
        done = await call(up)
    assert timeline.verdict(done) is None


async def test_a_provider_that_refuses_the_key_makes_the_call_a_failure_that_says_so(
    run_stack: RunStack,
) -> None:
    async with run_stack("assistant", behaviour=("openai-llm:fault=unauthorized",)) as up:
        done = await call(up)
        await wait_until(lambda: logged(up, "call over") != [], because="the call is over")
        (over,) = logged(up, "call over")
    problem = timeline.verdict(done)
    assert isinstance(problem, errors.NotUnderstoodError)
    assert "401" in problem.problem
    assert (over["outcome"], over["cause"]) == ("failed", "error")


async def test_a_call_to_an_agent_that_is_not_there_says_that_none_came(
    run_stack: RunStack,
) -> None:
    async with run_stack("assistant") as up:
        with pytest.raises(errors.NoAgentError, match="nobody"):
            await caller.place_call(
                CallPlan(
                    *(up.url, up.api_key, up.api_secret, "nobody", conversation.load("assistant")),
                    join_timeout_seconds=3.0,
                )
            )
