"""LiveKit's realtime plugin against the stand-in, and what no plugin would send."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
from livekit.agents import APIConnectOptions, APIError, llm
from livekit.plugins.openai import realtime

from tests.lab.conftest import KEY, Lab, frames, spoken
from tests.waiting import wait_until
from voicefleet.lab.behaviour import Behaviour, Fault
from voicefleet.lab.openai_realtime_response import SAMPLE_RATE
from voicefleet.lab.recognition import Recognizer

pytestmark = pytest.mark.slow

HEADERS = {"Authorization": f"Bearer {KEY}"}


@llm.function_tool
async def opening_hours(day: str) -> str:
    """When the library is open on a day."""
    return f"ten to four on {day}"


class Plugin:
    """The plugin's session, and what it has told so far."""

    def __init__(self, session: realtime.RealtimeSession) -> None:
        self.session = session
        self.server_events: list[dict[str, Any]] = []
        self.heard: list[str] = []
        self.errors: list[llm.RealtimeModelError] = []
        self.generations: asyncio.Queue[llm.GenerationCreatedEvent] = asyncio.Queue()
        session.on("openai_server_event_received", self.server_events.append)
        session.on("generation_created", self.generations.put_nowait)
        session.on("error", self.errors.append)
        session.on("input_audio_transcription_completed", self._on_transcript)

    def _on_transcript(self, event: llm.InputTranscriptionCompleted) -> None:
        if event.is_final:
            self.heard.append(event.transcript)

    def say(self, text: str) -> None:
        pcm = spoken(text, sample_rate=SAMPLE_RATE, silence_seconds=0.8)
        for frame in frames(pcm, SAMPLE_RATE):
            self.session.push_audio(frame)

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.server_events]

    async def is_told(self, kind: str, count: int = 1) -> None:
        await wait_until(lambda: self.kinds().count(kind) >= count, because=f"{count} {kind}")

    async def next_answer(self) -> "Answer":
        async with asyncio.timeout(20):
            generation = await self.generations.get()
            answer = Answer()
            async for one in generation.message_stream:
                answer.message_id = one.message_id
                answer.sound = b"".join([f.data.tobytes() async for f in one.audio_stream])
                answer.text = "".join([str(piece) async for piece in one.text_stream])
            answer.calls = [call async for call in generation.function_stream]
            return answer


class Answer:
    """One response, whole."""

    message_id, sound, text = "", b"", ""
    calls: list[llm.FunctionCall]

    def understood(self, lab: Lab) -> str:
        recognizer = Recognizer(lab.script.agent_phrases, SAMPLE_RATE)
        recognizer.feed(self.sound)
        return recognizer.finish()


@asynccontextmanager
async def plugin(lab: Lab, *, retries: int = 2, **options: Any) -> AsyncIterator[Plugin]:
    model = realtime.RealtimeModel(
        base_url=f"{lab.address}/openai/v1",
        api_key=KEY,
        http_session=lab.session,
        conn_options=APIConnectOptions(max_retry=retries, retry_interval=0.05, timeout=2.0),
        **options,
    )
    session = model.session()
    try:
        yield Plugin(session)
    finally:
        # It ends in the error that it has told of.
        with suppress(APIError):
            await session.aclose()
        await model.aclose()


async def test_the_plugin_is_greeted_in_words_and_in_sound(lab: Lab) -> None:
    async with plugin(lab) as one:
        one.session.generate_reply(instructions="Greet the caller.")
        answer = await one.next_answer()
    assert answer.text == lab.script.greeting
    assert answer.understood(lab) == lab.script.greeting
    assert not one.errors


async def test_a_turn_is_heard_ended_by_silence_and_answered_by_a_tool_and_words(lab: Lab) -> None:
    async with plugin(lab) as one:
        await one.session.update_instructions("Be kind.")
        await one.session.update_tools([opening_hours])
        one.say("When are you open on Saturday?")
        (call,) = (await one.next_answer()).calls
        assert one.heard == ["When are you open on Saturday?"]
        assert (call.name, json.loads(call.arguments)) == ("opening_hours", {"day": "saturday"})
        history = one.session.chat_ctx.copy()
        history.items.append(
            llm.FunctionCallOutput(
                call_id=call.call_id, name=call.name, output="ten to four", is_error=False
            )
        )
        await one.session.update_chat_ctx(history)
        one.session.generate_reply()
        answer = await one.next_answer()
    assert answer.text == lab.script.exchanges[0].agent
    kinds = one.kinds()
    order = [
        "session.created",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "response.created",
        "response.output_item.added",
        "response.output_item.done",
        "response.done",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
    ]
    places = [kinds.index(kind) for kind in order]
    assert places == sorted(places)
    assert not one.errors


async def test_a_caller_who_speaks_cancels_the_answer(lab: Lab) -> None:
    async with plugin(lab) as one:
        one.say("Tell me about the reading group.")
        await one.is_told("response.output_audio.delta", 3)
        one.say("Excuse me, do I have to bring the book?")
        cut = await one.next_answer()
        answer = await one.next_answer()
    assert cut.text
    assert lab.script.exchanges[1].agent.startswith(cut.text)
    assert cut.text != lab.script.exchanges[1].agent
    assert answer.text == lab.script.exchanges[2].agent
    first = next(e for e in one.server_events if e["type"] == "response.done")["response"]
    assert (first["status"], first["status_details"]["reason"]) == ("cancelled", "turn_detected")


async def test_what_was_not_heard_of_an_answer_can_be_cut_off_it(lab: Lab) -> None:
    async with plugin(lab) as one:
        one.session.generate_reply()
        answer = await one.next_answer()
        one.session.truncate(
            message_id=answer.message_id, modalities=["audio", "text"], audio_end_ms=800
        )
        await one.is_told("conversation.item.truncated")
        one.session.truncate(
            message_id=answer.message_id, modalities=["audio", "text"], audio_end_ms=999_000
        )
        await one.is_told("error")
    (error,) = one.errors
    assert error.recoverable


async def test_without_turn_detection_the_client_says_when_a_turn_is_over(lab: Lab) -> None:
    async with plugin(lab, turn_detection=None) as one:
        one.say("Tell me about the reading group.")
        one.session.commit_audio()
        await wait_until(lambda: bool(one.heard), because="the turn is committed and transcribed")
        assert one.generations.empty()
        one.session.generate_reply()
        assert (await one.next_answer()).text == lab.script.exchanges[1].agent
    assert "input_audio_buffer.speech_started" not in one.kinds()


async def test_a_line_that_is_cut_is_opened_again_and_knows_what_was_said(lab: Lab) -> None:
    lab.behaviours.change("openai-realtime", Behaviour(fault=Fault.CUT, fault_limit=1))
    reconnected = asyncio.Event()
    async with plugin(lab) as one:
        one.session.on("session_reconnected", lambda _: reconnected.set())
        one.say("Tell me about the reading group.")
        broken = await one.next_answer()
        await asyncio.wait_for(reconnected.wait(), 5)
        one.session.generate_reply()
        answer = await one.next_answer()
    assert len(broken.text) < len(lab.script.exchanges[1].agent)
    assert answer.text == lab.script.exchanges[1].agent
    assert [error.recoverable for error in one.errors] == [True]


@pytest.mark.parametrize("fault", [Fault.UNAUTHORIZED, Fault.RATE_LIMITED, Fault.SERVER_ERROR])
async def test_a_refusal_is_retried_and_then_final(lab: Lab, fault: Fault) -> None:
    lab.behaviours.change("openai-realtime", Behaviour(fault=fault))
    async with plugin(lab, retries=1) as one:
        await wait_until(lambda: len(one.errors) == 2, because="the plugin gives up")
        assert [error.recoverable for error in one.errors] == [True, False]


@asynccontextmanager
async def raw(lab: Lab) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    address = f"{lab.address}/openai/v1/realtime?model=gpt-realtime"
    async with lab.session.ws_connect(address, headers=HEADERS) as socket:
        assert (await socket.receive_json(timeout=5))["type"] == "session.created"
        yield socket


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("", "invalid_value"),
        ("[" * 100_000, "invalid_value"),
        ({"type": "open.door"}, "invalid_value"),
        ({"type": "session.update", "session": 7}, "missing_required_parameter"),
        ({"type": "input_audio_buffer.append", "audio": "no base 64"}, "invalid_value"),
        ({"type": "input_audio_buffer.append", "audio": ["x"]}, "invalid_value"),
        ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty"),
        ({"type": "conversation.item.create", "item": {"type": "poem"}}, "invalid_value"),
        ({"type": "conversation.item.delete", "item_id": "gone"}, "item_not_found"),
        ({"type": "conversation.item.truncate", "item_id": {}}, "item_not_found"),
        ({"type": "response.cancel"}, "response_cancel_not_active"),
    ],
)
async def test_a_malformed_event_is_refused_and_the_line_lives_on(
    lab: Lab, sent: Any, code: str
) -> None:
    async with raw(lab) as socket:
        event = {**sent, "event_id": "mine"} if isinstance(sent, dict) else sent
        await socket.send_str(event if isinstance(event, str) else json.dumps(event))
        answer = await socket.receive_json(timeout=5)
        assert (answer["type"], answer["error"]["code"]) == ("error", code)
        assert answer["error"]["event_id"] == ("mine" if isinstance(sent, dict) else None)
        await socket.send_json({"type": "input_audio_buffer.clear"})
        assert (await socket.receive_json(timeout=5))["type"] == "input_audio_buffer.cleared"


async def test_two_answers_at_once_are_refused(lab: Lab) -> None:
    lab.behaviours.change("openai-realtime", Behaviour(latency_seconds=0.5))
    async with raw(lab) as socket:
        for _ in range(2):
            await socket.send_json({"type": "response.create"})
        answers = [await socket.receive_json(timeout=5) for _ in range(2)]
    assert {answer["type"] for answer in answers} == {"response.created", "error"}


async def test_a_line_without_a_model_is_refused(lab: Lab) -> None:
    address = f"{lab.address}/openai/v1/realtime"
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await lab.session.ws_connect(address, headers=HEADERS)
    assert caught.value.status == 400
