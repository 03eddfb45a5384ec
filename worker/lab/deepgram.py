"""Stands in for Deepgram's recognition: whole recordings here, live streams in `deepgram_live`.

Wire format: https://developers.deepgram.com/reference/speech-to-text/listen-pre-recorded, errors:
https://developers.deepgram.com/docs/errors
"""

import asyncio
import uuid
from collections.abc import Sequence

from aiohttp import web

from worker import errors
from worker.lab import audio, deepgram_live, deepgram_settings, reception
from worker.lab.behaviour import Fault
from worker.lab.deepgram_messages import PROVIDER, alternative, metadata
from worker.lab.grammar import SAMPLE_RATE
from worker.lab.reception import DESK
from worker.lab.recognition import HeardWord, Recognizer

USUAL = {
    400: ("Bad Request", "the request is malformed"),
    401: ("INVALID_AUTH", "Invalid credentials."),
    429: ("TOO_MANY_REQUESTS", "Too many requests. Please try again later"),
    500: ("INTERNAL_SERVER_ERROR", "Internal server error."),
}


def add_routes(router: web.UrlDispatcher) -> None:
    router.add_get("/deepgram/v1/listen", _listen_live)
    router.add_post("/deepgram/v1/listen", _listen_to_recording)


def refuse(status: int, message: str) -> web.HTTPException:
    code, usual = USUAL[status]
    body = {"err_code": code, "err_msg": message or usual, "request_id": str(uuid.uuid4())}
    return reception.refusal(status, body)


async def _listen_live(request: web.Request) -> web.StreamResponse:
    record = await reception.admit(request, PROVIDER, _key(request), refuse)
    if not reception.is_websocket(request):
        raise refuse(400, "open a websocket, or POST a recording")
    try:
        settings = deepgram_settings.parse_settings(request.query)
    except errors.UsageError as error:
        raise refuse(400, f"{error.problem}; {error.fix}") from error
    record.answer()
    return await deepgram_live.listen(request, settings, record.fault)


async def _listen_to_recording(request: web.Request) -> web.StreamResponse:
    record = await reception.admit(request, PROVIDER, _key(request), refuse)
    sound = await request.read()
    desk = request.app[DESK]
    try:
        pcm, text, words = await asyncio.to_thread(
            _recognize, sound, desk.conversation.caller_phrases
        )
    except errors.UsageError as error:
        message = f"failed to process audio: corrupt or unsupported data ({error.problem})"
        raise refuse(400, message) from error
    await record.delay(desk.behaviours.latency_seconds(PROVIDER))
    record.answer()
    if record.fault is Fault.CUT:
        reception.hang_up(request)
    seconds = len(pcm) / 2 / SAMPLE_RATE
    return web.json_response(
        {
            "metadata": metadata(str(uuid.uuid4()), seconds, sound),
            "results": {"channels": [{"alternatives": [alternative(text, words)]}]},
        }
    )


def _recognize(sound: bytes, phrases: Sequence[str]) -> tuple[bytes, str, tuple[HeardWord, ...]]:
    pcm = audio.decode(sound, SAMPLE_RATE)
    recognizer = Recognizer(phrases)
    recognizer.feed(pcm)
    text = recognizer.finish()
    return pcm, text, recognizer.heard


def _key(request: web.Request) -> str:
    """Both schemes of https://developers.deepgram.com/guides/fundamentals/authenticating"""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() in ("token", "bearer") else ""
