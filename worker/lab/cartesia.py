"""Stands in for Cartesia's speech: a text at a time here, contexts over a websocket in
`cartesia_live`.

Wire format: https://docs.cartesia.ai/api-reference/tts/bytes
"""

import asyncio

from aiohttp import web

from worker.lab import audio, cartesia_live, reception, speech
from worker.lab.behaviour import Fault
from worker.lab.cartesia_messages import PROVIDER, Wish, parse_wish, refuser
from worker.lab.reception import DESK

PIECE_BYTES = 4_096
CONTENT_TYPES = {"raw": "audio/pcm", "wav": "audio/wav", "mp3": "audio/mpeg"}


def add_routes(router: web.UrlDispatcher) -> None:
    router.add_get("/cartesia/tts/websocket", _converse)
    router.add_post("/cartesia/tts/bytes", _speak)


async def _converse(request: web.Request) -> web.StreamResponse:
    refuse = refuser(_version(request))
    record = await reception.admit(request, PROVIDER, _key(request), refuse)
    if not reception.is_websocket(request):
        raise refuse(400, "Bad request: open a websocket")
    record.answer()
    return await cartesia_live.serve(request, _version(request), record.fault)


async def _speak(request: web.Request) -> web.StreamResponse:
    refuse = refuser(_version(request))
    record = await reception.admit(request, PROVIDER, _key(request), refuse)
    wish = parse_wish(await request.read())
    if isinstance(wish, str):
        raise refuse(400, wish)
    if not wish.transcript.strip():
        raise refuse(400, "Bad request: transcript is empty")
    sound = await asyncio.to_thread(_synthesize, wish)
    await record.delay(request.app[DESK].behaviours.latency_seconds(PROVIDER))
    is_cut = record.fault is Fault.CUT
    response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPES[wish.container]})
    await response.prepare(request)
    for start in range(0, len(sound) // 2 if is_cut else len(sound), PIECE_BYTES):
        await response.write(sound[start : start + PIECE_BYTES])
        record.answer()
    if is_cut:
        reception.hang_up(request)
    return response


def _synthesize(wish: Wish) -> bytes:
    said = speech.synthesize(
        wish.transcript, sample_rate=wish.sample_rate, words_per_minute=wish.words_per_minute
    )
    if wish.container == "raw":
        return wish.samples(said.pcm)
    return audio.encode(said.pcm, wish.sample_rate, wish.container)


def _key(request: web.Request) -> str:
    """Every way of https://docs.cartesia.ai/use-the-api/authentication"""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return str(request.headers.get("X-API-Key") or request.query.get("api_key") or bearer)


def _version(request: web.Request) -> str:
    return str(
        request.query.get("cartesia_version") or request.headers.get("Cartesia-Version") or ""
    )
