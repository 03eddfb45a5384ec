"""LiveKit's OpenAI plugins against the stand-in, and what no plugin would send."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from livekit import rtc
from livekit.agents import APIConnectionError, APIError, APIStatusError, APITimeoutError, llm
from livekit.plugins import openai
from openai import AsyncOpenAI

from tests.lab.conftest import KEY, ONCE, Lab, frames, spoken
from voicefleet.lab import script
from voicefleet.lab.behaviour import Behaviour, Fault
from voicefleet.lab.recognition import Recognizer

HEADERS = {"Authorization": f"Bearer {KEY}"}
QUESTION = "Tell me about the reading group."


@llm.function_tool
async def opening_hours(day: str) -> str:
    """When the library is open on a day."""
    return f"ten to four on {day}"


@asynccontextmanager
async def model(lab: Lab) -> AsyncIterator[openai.LLM]:
    one = openai.LLM(base_url=f"{lab.address}/openai/v1", api_key=KEY, max_retries=0)
    try:
        yield one
    finally:
        await one.aclose()


@asynccontextmanager
async def voice(lab: Lab, **options: Any) -> AsyncIterator[openai.TTS]:
    one = openai.TTS(base_url=f"{lab.address}/openai/v1", api_key=KEY, **options)
    try:
        yield one
    finally:
        await one.aclose()


async def ask(lab: Lab, context: llm.ChatContext) -> llm.CollectedResponse:
    async with model(lab) as one:
        stream = one.chat(chat_ctx=context, tools=[opening_hours], conn_options=ONCE)
        return await stream.collect()


def context(*messages: tuple[Any, str]) -> llm.ChatContext:
    made = llm.ChatContext.empty()
    for role, text in messages:
        made.add_message(role=role, content=text)
    return made


async def test_the_plugin_gets_the_greeting_before_the_caller_speaks(lab: Lab) -> None:
    answer = await ask(lab, context(("system", "Greet the caller.")))
    assert answer.text == lab.script.greeting


async def test_the_plugin_gets_the_answer_of_the_script_and_the_usage(lab: Lab) -> None:
    answer = await ask(lab, context(("user", QUESTION)))
    assert answer.text == lab.script.exchanges[1].agent
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 20


async def test_the_plugin_calls_the_tool_and_then_gets_the_answer(lab: Lab) -> None:
    asked = context(("user", "When are you open on Saturday?"))
    first = await ask(lab, asked)
    (call,) = first.tool_calls
    assert (call.name, call.arguments) == ("opening_hours", '{"day": "saturday"}')
    asked.items.append(
        llm.FunctionCall(call_id=call.call_id, name=call.name, arguments=call.arguments)
    )
    output = llm.FunctionCallOutput(
        call_id=call.call_id, name=call.name, output="ten to four", is_error=False
    )
    asked.items.append(output)
    second = await ask(lab, asked)
    assert second.text == lab.script.exchanges[0].agent
    assert not second.tool_calls


async def test_an_answer_comes_in_pieces(lab: Lab) -> None:
    async with model(lab) as one, one.chat(chat_ctx=context(("user", QUESTION))) as stream:
        pieces = [chunk.delta.content async for chunk in stream if chunk.delta]
    assert len([piece for piece in pieces if piece]) > 30


@pytest.mark.parametrize(
    ("fault", "status"),
    [(Fault.UNAUTHORIZED, 401), (Fault.RATE_LIMITED, 429), (Fault.SERVER_ERROR, 500)],
)
async def test_a_refusal_reaches_every_plugin(lab: Lab, fault: Fault, status: int) -> None:
    for provider, request in requests_of_every_plugin(lab).items():
        lab.behaviours.change(provider, Behaviour(fault=fault))
        with pytest.raises(APIStatusError) as caught:
            await request
        assert caught.value.status_code == status


async def test_a_cut_answer_is_an_error_of_every_plugin(lab: Lab) -> None:
    for provider, request in requests_of_every_plugin(lab).items():
        lab.behaviours.change(provider, Behaviour(fault=Fault.CUT))
        with pytest.raises(APIError):
            await request


async def test_a_model_that_is_silent_runs_into_the_time_limit_of_the_plugin(lab: Lab) -> None:
    lab.behaviours.change("openai-llm", Behaviour(fault=Fault.SILENCE))
    with pytest.raises((APITimeoutError, APIConnectionError)):
        await asyncio.wait_for(ask(lab, context(("user", QUESTION))), 5)


@pytest.mark.parametrize(
    "options",
    [{}, {"model": "tts-1"}, {"response_format": "wav"}, {"response_format": "pcm"}],
    ids=["sse mp3", "plain mp3", "sse wav", "sse pcm"],
)
async def test_what_the_plugin_speaks_can_be_understood(lab: Lab, options: dict[str, str]) -> None:
    async with voice(lab, **options) as one:
        sound = [event.frame async for event in one.synthesize(lab.script.greeting)]
    assert understood(lab, sound) == lab.script.greeting


@pytest.mark.parametrize("name", ["gpt-4o-mini-transcribe", "whisper-1"])
async def test_the_plugin_transcribes_what_was_said(lab: Lab, name: str) -> None:
    assert await transcribe(lab, model=name) == QUESTION


async def test_an_answer_can_be_had_in_one_piece(lab: Lab) -> None:
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": QUESTION}]}
    status, answer = await post(lab, "chat/completions", json=body)
    assert status == 200
    assert answer["choices"][0]["message"]["content"] == lab.script.exchanges[1].agent
    assert answer["choices"][0]["finish_reason"] == "stop"


async def test_what_the_script_does_not_know_is_answered_honestly_and_noted(lab: Lab) -> None:
    assert (await ask(lab, context(("user", "Sing a song.")))).text == script.NOT_UNDERSTOOD
    (record,) = (await lab.get("/lab/requests"))["requests"]
    assert record["note"]


async def test_a_tool_that_was_not_offered_is_not_called_but_noted(lab: Lab) -> None:
    body = {
        "model": "gpt-4.1",
        "messages": [{"role": "user", "content": "When are you open on Saturday?"}],
    }
    _, answer = await post(lab, "chat/completions", json=body)
    assert answer["choices"][0]["message"]["content"] == lab.script.exchanges[0].agent
    (record,) = (await lab.get("/lab/requests"))["requests"]
    assert record["note"] == "tool not offered: opening_hours"


async def test_models_are_listed(lab: Lab) -> None:
    async with lab.session.get(f"{lab.address}/openai/v1/models", headers=HEADERS) as response:
        listed = await response.json()
    assert "gpt-4.1" in [one["id"] for one in listed["data"]]


HOSTILE: list[Any] = [
    b"",
    b"\xff\x00" * 100,
    b"[" * 100_000,
    b"null",
    b"[]",
    b'{"model": 1}',
    b'{"model": "m", "messages": []}',
    b'{"model": "m", "messages": [1]}',
    b'{"model": "m", "messages": [{"role": ["user"]}]}',
    b'{"model": "m", "messages": {"role": "user"}}',
    b'{"input": ""}',
    b'{"input": 7}',
    b'{"input": "x", "response_format": ["mp3"]}',
    b'{"input": "x", "stream_format": {}}',
    b'{"input": "x", "speed": 1e300}',
]


@pytest.mark.parametrize("path", ["chat/completions", "audio/speech", "audio/transcriptions"])
@pytest.mark.parametrize("body", HOSTILE)
async def test_a_malformed_request_is_refused_as_openai_does(
    lab: Lab, path: str, body: bytes
) -> None:
    status, answer = await post(lab, path, data=body)
    assert status == 400
    assert answer["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "odd",
    [
        {"role": "user", "content": None},
        {"role": "user", "content": [{"type": "image_url"}, 7, {"text": 3}]},
        {"role": "assistant", "tool_calls": "none"},
        {"role": "assistant", "tool_calls": [1, {"function": 2}, {"function": {"name": []}}]},
        {"role": "tool"},
        {"role": "narrator", "content": {}},
    ],
)
async def test_odd_messages_are_answered_and_not_tripped_over(lab: Lab, odd: Any) -> None:
    user = {"role": "user", "content": "When are you open on Saturday?"}
    for messages in ([odd], [odd, user], [user, odd]):
        body = {"model": "m", "messages": messages, "tools": [1, {"function": None}]}
        assert (await post(lab, "chat/completions", json=body))[0] == 200


async def test_a_body_that_is_too_large_is_refused(lab: Lab) -> None:
    address = f"{lab.address}/openai/v1/chat/completions"
    try:
        async with lab.session.post(
            address, data=io.BytesIO(bytes(30_000_000)), headers=HEADERS
        ) as response:
            assert response.status == 413
    except aiohttp.ClientConnectionError:
        pass  # the server may hang up before it has read everything


@pytest.mark.parametrize("sound", [b"", b"RIFF....WAVE", bytes(range(256)) * 50])
async def test_a_recording_that_is_none_is_refused(lab: Lab, sound: bytes) -> None:
    form = aiohttp.FormData()
    form.add_field("file", sound, filename="x.wav", content_type="audio/wav")
    form.add_field("model", "whisper-1")
    status, answer = await post(lab, "audio/transcriptions", data=form)
    assert status == 400
    assert answer["error"]["message"]


async def test_an_unknown_path_is_an_error_in_openais_form(lab: Lab) -> None:
    status, answer = await post(lab, "images/generations", json={})
    assert status == 404
    assert "Invalid URL" in answer["error"]["message"]


async def post(lab: Lab, path: str, **body: Any) -> tuple[int, Any]:
    address = f"{lab.address}/openai/v1/{path}"
    async with lab.session.post(address, headers=HEADERS, **body) as response:
        return response.status, await response.json()


def requests_of_every_plugin(lab: Lab) -> dict[str, Any]:
    """One request of each plugin, by the provider it goes to; each is to be awaited."""

    async def speak() -> None:
        async with voice(lab) as one:
            [event async for event in one.synthesize(QUESTION, conn_options=ONCE)]

    return {
        "openai-llm": ask(lab, context(("user", QUESTION))),
        "openai-stt": transcribe(lab),
        "openai-tts": speak(),
    }


async def transcribe(lab: Lab, **options: Any) -> str:
    """The plugin never closes the client that it makes itself, so it is given one."""
    async with AsyncOpenAI(
        base_url=f"{lab.address}/openai/v1", api_key=KEY, max_retries=0
    ) as client:
        plugin = openai.STT(client=client, **options)
        event = await plugin.recognize(frames(spoken(QUESTION)), conn_options=ONCE)
        return event.alternatives[0].text


def understood(lab: Lab, sound: list[rtc.AudioFrame]) -> str:
    recognizer = Recognizer(lab.script.agent_phrases, sound[0].sample_rate)
    for frame in sound:
        recognizer.feed(frame.data.tobytes())
    return recognizer.finish()
