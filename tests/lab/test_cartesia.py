"""LiveKit's Cartesia plugin against the stand-in, and what no plugin would send."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from livekit.agents import APIError, APIStatusError, APITimeoutError, tts
from livekit.plugins import cartesia

from tests.lab.conftest import KEY, ONCE, Lab
from voicefleet.lab.behaviour import Behaviour, Fault
from voicefleet.lab.recognition import Recognizer

HEADERS = {"X-API-Key": KEY, "Cartesia-Version": "2025-04-16"}
WISH: dict[str, Any] = {
    "model_id": "sonic-3",
    "transcript": "Thank you for calling. Goodbye.",
    "voice": {"mode": "id", "id": "any"},
    "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000},
    "context_id": "one",
    "continue": False,
    "add_timestamps": True,
}


@asynccontextmanager
async def voice(lab: Lab, **options: Any) -> AsyncIterator[cartesia.TTS]:
    address = f"{lab.address}/cartesia"
    one = cartesia.TTS(base_url=address, api_key=KEY, http_session=lab.session, **options)
    try:
        yield one
    finally:
        await one.aclose()


async def say(one: cartesia.TTS, text: str) -> list[tts.SynthesizedAudio]:
    async with one.stream(conn_options=ONCE) as stream:
        for word in text.split(" "):
            stream.push_text(word + " ")
        stream.end_input()
        return [event async for event in stream]


async def connect(lab: Lab, version: str = "2025-04-16") -> aiohttp.ClientWebSocketResponse:
    address = f"{lab.address}/cartesia/tts/websocket?cartesia_version={version}"
    return await lab.session.ws_connect(address, headers=HEADERS)


async def exchange(lab: Lab, *sent: Any) -> list[dict[str, Any]]:
    """What comes back, up to the first message that says it is done."""
    socket = await connect(lab)
    for message in sent:
        await socket.send_str(message if isinstance(message, str) else json.dumps(message))
    found: list[dict[str, Any]] = []
    while not found or not found[-1]["done"]:
        found.append(await socket.receive_json(timeout=5))
    await socket.close()
    return found


@pytest.mark.parametrize("sample_rate", [16_000, 24_000, 48_000])
async def test_what_the_plugin_speaks_can_be_understood(lab: Lab, sample_rate: int) -> None:
    for text in (lab.script.greeting, lab.script.exchanges[1].agent):
        async with voice(lab, sample_rate=sample_rate) as one:
            sound = await say(one, text)
        recognizer = Recognizer(lab.script.agent_phrases, sample_rate)
        for event in sound:
            recognizer.feed(event.frame.data.tobytes())
        assert recognizer.finish() == text


async def test_the_plugin_gets_the_words_with_their_times(lab: Lab) -> None:
    async with voice(lab) as one:
        sound = await say(one, lab.script.greeting)
    words = [
        word for event in sound for word in event.frame.userdata.get("lk.timed_transcripts", ())
    ]
    assert "".join(words).split() == lab.script.greeting.split()


async def test_a_connection_is_used_again(lab: Lab) -> None:
    async with voice(lab) as one:
        await say(one, "Goodbye.")
        await say(one, "Goodbye.")
    report = await lab.get("/lab/requests")
    assert report["counts"]["cartesia"] == 1
    assert [r["kind"] for r in report["requests"]] == ["request", "text", "text"]


async def test_the_plugin_gets_a_whole_text_over_http(lab: Lab) -> None:
    async with voice(lab) as one:
        sound = [event.frame async for event in one.synthesize("Goodbye.", conn_options=ONCE)]
    assert 0.4 < sum(frame.duration for frame in sound) < 2.0


@pytest.mark.parametrize(
    ("fault", "status"),
    [(Fault.UNAUTHORIZED, 401), (Fault.RATE_LIMITED, 429), (Fault.SERVER_ERROR, 500)],
)
async def test_a_refusal_reaches_the_plugin(lab: Lab, fault: Fault, status: int) -> None:
    lab.behaviours.change("cartesia", Behaviour(fault=fault))
    async with voice(lab) as one:
        with pytest.raises(APIStatusError) as caught:
            await say(one, "Goodbye.")
        assert caught.value.status_code == status
        with pytest.raises(APIStatusError) as caught:
            [event async for event in one.synthesize("Goodbye.", conn_options=ONCE)]
        assert caught.value.status_code == status


async def test_a_cut_connection_is_an_error_of_the_plugin(lab: Lab) -> None:
    lab.behaviours.change("cartesia", Behaviour(fault=Fault.CUT))
    async with voice(lab) as one:
        with pytest.raises(APIError):
            await say(one, lab.script.greeting)


async def test_silence_runs_into_the_time_limit_of_the_plugin(lab: Lab) -> None:
    lab.behaviours.change("cartesia", Behaviour(fault=Fault.SILENCE))
    async with voice(lab) as one:
        with pytest.raises(APITimeoutError):
            await asyncio.wait_for(say(one, "Goodbye."), 5)


async def test_a_context_is_spoken_without_a_seam_and_then_done(lab: Lab) -> None:
    first = {**WISH, "transcript": "Thank you for calling. ", "continue": True}
    found = await exchange(lab, first, {**WISH, "transcript": "Goodbye."})
    words = [m["word_timestamps"] for m in found if m["type"] == "timestamps"]
    assert [word for one in words for word in one["words"]] == WISH["transcript"].split()
    starts = [start for one in words for start in one["start"]]
    assert starts == sorted(starts)
    seconds = sum(len(base64.b64decode(m["data"])) for m in found if m["type"] == "chunk") / 48_000
    assert words[-1]["end"][-1] == pytest.approx(seconds, abs=0.02)
    assert found[-1]["type"] == "done"


async def test_pieces_of_a_sentence_wait_for_its_end(lab: Lab) -> None:
    pieces = [{**WISH, "transcript": f"{word} ", "continue": True} for word in ("Thank", "you.")]
    found = await exchange(lab, *pieces, {**WISH, "transcript": ""})
    assert len([message for message in found if message["type"] == "timestamps"]) == 1


async def test_a_flush_speaks_what_waits_and_says_so(lab: Lab) -> None:
    flush = {**WISH, "transcript": "Thank you", "continue": True, "flush": True}
    found = await exchange(lab, flush, {**WISH, "transcript": " "})
    kinds = [message["type"] for message in found]
    assert kinds.index("chunk") < kinds.index("flush_done") < kinds.index("done")


async def test_a_cancelled_context_is_not_spoken_but_others_are(lab: Lab) -> None:
    lab.behaviours.change("cartesia", Behaviour(latency_seconds=0.2))
    other = {**WISH, "context_id": "two"}
    found = await exchange(lab, WISH, {"context_id": "one", "cancel": True}, other)
    assert {message["context_id"] for message in found} == {"two"}


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "nonsense",
        "[" * 100_000,
        "{}",
        {**WISH, "transcript": None},
        {**WISH, "transcript": "x" * 30_000},
        {**WISH, "context_id": ["one"]},
        {**WISH, "voice": None},
        {**WISH, "model_id": None},
        {**WISH, "output_format": {"container": "raw", "encoding": ["x"], "sample_rate": 24_000}},
        {**WISH, "output_format": {"container": "raw", "sample_rate": 1}},
        {**WISH, "output_format": {"container": "mp3", "sample_rate": 24_000}},
    ],
)
async def test_a_malformed_message_is_answered_with_an_error(lab: Lab, sent: Any) -> None:
    (answer,) = await exchange(lab, sent)
    assert (answer["type"], answer["status_code"]) == ("error", 400)
    assert answer["error"].startswith("Bad request: ")


async def test_bytes_are_refused_and_the_connection_lives_on(lab: Lab) -> None:
    socket = await connect(lab, "2026-03-01")
    await socket.send_bytes(b"\xff\x00")
    answer = await socket.receive_json(timeout=5)
    assert answer["error_code"] == "invalid_request"
    await socket.send_json(WISH)
    assert (await socket.receive_json(timeout=5))["type"] == "chunk"
    await socket.close()


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", json.dumps({**WISH, "transcript": ""})])
async def test_a_malformed_request_is_refused_in_words(lab: Lab, body: bytes | str) -> None:
    address = f"{lab.address}/cartesia/tts/bytes"
    async with lab.session.post(address, data=body, headers=HEADERS) as response:
        assert response.status == 400
        assert "Bad request" in await response.text()


@pytest.mark.parametrize("container", ["wav", "mp3"])
async def test_a_file_can_be_had_as_well(lab: Lab, container: str) -> None:
    wish = {**WISH, "output_format": {"container": container, "sample_rate": 24_000}}
    address = f"{lab.address}/cartesia/tts/bytes"
    async with lab.session.post(address, json=wish, headers=HEADERS) as response:
        assert response.status == 200
        assert len(await response.read()) > 5_000
