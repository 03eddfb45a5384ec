"""LiveKit's Deepgram plugin against the stand-in, and what no plugin would send."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest
from livekit.agents import APIError, APIStatusError, stt
from livekit.agents.stt import SpeechEventType
from livekit.plugins import deepgram

from tests.lab.conftest import KEY, ONCE, Lab, frames, spoken
from voicefleet.lab import deepgram as stand_in
from voicefleet.lab.behaviour import Behaviour, Fault

LIVE = "encoding=linear16&sample_rate=16000&interim_results=true&vad_events=true"
TURN = "Thank you very much. Goodbye."


def plugin(lab: Lab, key: str = KEY) -> deepgram.STT:
    address = f"{lab.address}/deepgram/v1/listen"
    return deepgram.STT(base_url=address, api_key=key, http_session=lab.session)


async def events_until(
    stream: stt.SpeechStream, last: SpeechEventType, count: int = 1
) -> list[stt.SpeechEvent]:
    found: list[stt.SpeechEvent] = []
    async for event in stream:
        found.append(event)
        if [e.type for e in found].count(last) == count:
            break
    return found


async def connect(lab: Lab, query: str = LIVE) -> aiohttp.ClientWebSocketResponse:
    address = f"{lab.address}/deepgram/v1/listen?{query}"
    return await lab.session.ws_connect(address, headers={"Authorization": f"Token {KEY}"})


async def messages(socket: aiohttp.ClientWebSocketResponse) -> list[dict[str, Any]]:
    """Everything until the server closes."""
    return [json.loads(message.data) async for message in socket]


async def test_the_plugin_hears_what_was_said(lab: Lab) -> None:
    async with plugin(lab).stream(conn_options=ONCE) as stream:
        for text in ("When are you open on Saturday?", TURN):
            for frame in frames(spoken(text)):
                stream.push_frame(frame)
        found = await asyncio.wait_for(events_until(stream, SpeechEventType.END_OF_SPEECH, 2), 20)
    finals = [e.alternatives[0] for e in found if e.type == SpeechEventType.FINAL_TRANSCRIPT]
    assert [final.text for final in finals] == ["When are you open on Saturday?", TURN]
    words = finals[1].words or []
    assert [str(word) for word in words] == TURN.split()
    assert 2.0 < finals[1].start_time < finals[1].end_time < 8.0
    kinds = [event.type for event in found if event.type != SpeechEventType.RECOGNITION_USAGE]
    assert kinds[0] == SpeechEventType.START_OF_SPEECH
    assert SpeechEventType.INTERIM_TRANSCRIPT in kinds


async def test_many_streams_at_once_are_all_heard(lab: Lab) -> None:
    async def one(text: str) -> str:
        async with plugin(lab).stream(conn_options=ONCE) as stream:
            for frame in frames(spoken(text)):
                stream.push_frame(frame)
            found = await events_until(stream, SpeechEventType.FINAL_TRANSCRIPT)
            return found[-1].alternatives[0].text

    texts = [exchange.caller for exchange in lab.script.exchanges] * 2
    assert await asyncio.wait_for(asyncio.gather(*map(one, texts)), 30) == texts


async def test_a_recording_is_heard(lab: Lab) -> None:
    event = await plugin(lab).recognize(frames(spoken(TURN)), conn_options=ONCE)
    assert event.alternatives[0].text == TURN


@pytest.mark.parametrize(
    ("fault", "status"),
    [(Fault.UNAUTHORIZED, 401), (Fault.RATE_LIMITED, 429), (Fault.SERVER_ERROR, 500)],
)
async def test_a_refusal_reaches_the_plugin(lab: Lab, fault: Fault, status: int) -> None:
    lab.behaviours.change("deepgram", Behaviour(fault=fault))
    with pytest.raises(APIStatusError) as caught:
        await first_final(lab)
    assert caught.value.status_code == status


async def test_a_cut_stream_is_an_error_of_the_plugin(lab: Lab) -> None:
    lab.behaviours.change("deepgram", Behaviour(fault=Fault.CUT))
    with pytest.raises(APIError):
        await first_final(lab)


async def test_a_silent_stream_is_taken_and_never_answered(lab: Lab) -> None:
    lab.behaviours.change("deepgram", Behaviour(fault=Fault.SILENCE))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(first_final(lab), 1.5)


async def test_delay_is_added_to_what_was_heard_and_not_to_hearing(lab: Lab) -> None:
    lab.behaviours.change("deepgram", Behaviour(latency_seconds=0.3))
    assert await first_final(lab) == TURN
    records = (await lab.get("/lab/requests"))["requests"]
    (utterance,) = [record for record in records if record["kind"] == "utterance"]
    assert utterance["added_delay_seconds"] == pytest.approx(0.3)
    assert 0.3 <= utterance["first_answer"] - utterance["arrived"] < 1.5


async def test_close_stream_finishes_what_was_begun_and_ends_with_metadata(lab: Lab) -> None:
    socket = await connect(lab)
    await send(socket, spoken(TURN, silence_seconds=0.0))
    await socket.send_str('{"type": "CloseStream"}')
    found = await messages(socket)
    assert found[0]["type"] == "SpeechStarted"
    assert found[-2]["channel"]["alternatives"][0]["transcript"] == TURN
    assert (found[-2]["is_final"], found[-2]["from_finalize"]) == (True, True)
    assert found[-1]["type"] == "Metadata"
    assert found[-1]["duration"] == pytest.approx(
        len(spoken(TURN, silence_seconds=0)) / 32_000, 0.1
    )
    assert socket.close_code == 1000


async def test_utterance_end_comes_when_it_is_asked_for(lab: Lab) -> None:
    socket = await connect(lab, f"{LIVE}&utterance_end_ms=1000")
    await send(socket, spoken(TURN, silence_seconds=1.5))
    await socket.send_str('{"type": "CloseStream"}')
    kinds = [message["type"] for message in await messages(socket)]
    assert kinds.index("UtteranceEnd") > kinds.index("Results")


async def test_interim_results_come_only_when_they_are_asked_for(lab: Lab) -> None:
    socket = await connect(lab, "encoding=linear16&sample_rate=16000")
    await send(socket, spoken(TURN))
    await socket.send_str('{"type": "CloseStream"}')
    assert [message["type"] for message in await messages(socket)] == ["Results", "Metadata"]


async def test_a_stream_without_sound_is_closed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand_in, "NO_SOUND_SECONDS", 0.3)
    socket = await connect(lab)
    message = await socket.receive()
    assert socket.close_code == 1011
    assert "did not receive audio" in str(message.extra)


async def test_keep_alive_keeps_a_stream_open(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand_in, "NO_SOUND_SECONDS", 0.4)
    socket = await connect(lab)
    for _ in range(4):
        await socket.send_str('{"type": "KeepAlive"}')
        await asyncio.sleep(0.2)
    await socket.send_str('{"type": "CloseStream"}')
    assert [message["type"] for message in await messages(socket)] == ["Metadata"]


@pytest.mark.parametrize("text", ["", "nonsense", "[1]", "[" * 100_000, '{"type": "Fly"}', '"x"'])
async def test_a_text_that_is_no_message_ends_the_stream_with_an_error(lab: Lab, text: str) -> None:
    socket = await connect(lab)
    await socket.send_str(text)
    found = await messages(socket)
    assert [message["type"] for message in found] == ["Error"]
    assert socket.close_code == 1008


async def test_bytes_that_are_no_sound_are_heard_as_nothing(lab: Lab) -> None:
    socket = await connect(lab)
    for size in (0, 1, 3, 99_999):
        await socket.send_bytes(bytes(range(256)) * (size // 256) + bytes(size % 256))
    await socket.send_str('{"type": "CloseStream"}')
    found = await messages(socket)
    assert found[-1]["type"] == "Metadata"
    assert transcripts(found) == []


async def test_a_message_that_is_too_large_closes_the_stream(lab: Lab) -> None:
    socket = await connect(lab)
    await socket.send_bytes(bytes(2 * 1024 * 1024))
    await messages(socket)
    assert socket.close_code == 1009


@pytest.mark.parametrize(
    "query",
    [
        "",
        "sample_rate=zero",
        "sample_rate=-1",
        "sample_rate=16000&encoding=opus",
        "sample_rate=16000&channels=2",
        "sample_rate=16000&endpointing=soon",
        "sample_rate=" + "9" * 5_000,
    ],
)
async def test_a_query_that_cannot_be_served_is_refused(lab: Lab, query: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await connect(lab, query)
    assert caught.value.status == 400


@pytest.mark.parametrize("body", [b"", b"RIFF", bytes(range(256)) * 100, b"{}" * 10])
async def test_a_recording_that_is_none_is_refused(lab: Lab, body: bytes) -> None:
    async with lab.session.post(
        f"{lab.address}/deepgram/v1/listen", data=body, headers={"Authorization": f"Token {KEY}"}
    ) as response:
        assert response.status == 400
        assert (await response.json())["err_code"] == "Bad Request"


async def first_final(lab: Lab) -> str:
    async with plugin(lab).stream(conn_options=ONCE) as stream:
        for frame in frames(spoken(TURN)):
            stream.push_frame(frame)
        found = await events_until(stream, SpeechEventType.FINAL_TRANSCRIPT)
        return found[-1].alternatives[0].text


async def send(socket: aiohttp.ClientWebSocketResponse, pcm: bytes) -> None:
    for start in range(0, len(pcm), 1_600):
        await socket.send_bytes(pcm[start : start + 1_600])


def transcripts(found: Sequence[dict[str, Any]]) -> list[str]:
    results = [message for message in found if message["type"] == "Results"]
    texts = [result["channel"]["alternatives"][0]["transcript"] for result in results]
    return [text for text in texts if text]
