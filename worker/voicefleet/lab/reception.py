"""What every stand-in does with a request before it answers: note it, check its key, refuse it if
it is told to; and the routes by which a test or an operator tells it.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web

from voicefleet import errors
from voicefleet.lab import behaviour as behaviours
from voicefleet.lab.behaviour import Behaviours, Fault, Record
from voicefleet.lab.conversation import Conversation

STATUS_OF = {Fault.UNAUTHORIZED: 401, Fault.RATE_LIMITED: 429, Fault.SERVER_ERROR: 500}

# Makes a provider's own error body: the refusal to raise, from a status and a sentence ("" for the
# provider's usual one).
Refuse = Callable[[int, str], web.HTTPException]

HTTP_ERRORS: dict[int, type[web.HTTPException]] = {
    400: web.HTTPBadRequest,
    401: web.HTTPUnauthorized,
    404: web.HTTPNotFound,
    413: web.HTTPBadRequest,
    429: web.HTTPTooManyRequests,
    500: web.HTTPInternalServerError,
}


@dataclass(frozen=True, slots=True)
class Desk:
    """What the handlers of one application share. Without a key, any key is right."""

    conversation: Conversation
    key: str | None = None
    behaviours: Behaviours = field(default_factory=Behaviours)


DESK = web.AppKey("desk", Desk)


async def admit(request: web.Request, provider: str, key: str, refuse: Refuse) -> Record:
    """The record of a request that is to be answered; a fault left in it is for the handler.

    :raises HTTPException: if its key is wrong, or it is told to refuse.
    """
    desk = request.app[DESK]
    record = desk.behaviours.begin(provider)
    if desk.key is not None and key != desk.key:
        record.answer()
        raise refuse(401, "")
    if (status := STATUS_OF.get(record.fault)) is not None:
        await record.delay(desk.behaviours.latency_seconds(provider))
        record.answer()
        raise refuse(status, "")
    if record.fault is Fault.SILENCE and not is_websocket(request):
        await asyncio.Event().wait()  # until the client gives up: that cancels the handler
    return record


def is_websocket(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


def refusal(status: int, body: object) -> web.HTTPException:
    text = body if isinstance(body, str) else json.dumps(body)
    kind = "text/plain" if isinstance(body, str) else "application/json"
    return HTTP_ERRORS[status](text=text, content_type=kind)


def hang_up(request: web.Request) -> None:
    """End the connection as a network does: no closing frame, no last chunk."""
    if request.transport is not None:
        request.transport.abort()


def parse_object(text: str | bytes) -> dict[str, Any] | None:
    """A JSON object, or nothing if it is anything else, however hostile."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def add_routes(router: web.UrlDispatcher) -> None:
    router.add_get("/lab/behaviour/{provider}", _show_behaviour)
    router.add_put("/lab/behaviour/{provider}", _change_behaviour)
    router.add_get("/lab/requests", _show_requests)


async def _show_behaviour(request: web.Request) -> web.Response:
    return web.json_response(asdict(request.app[DESK].behaviours.of(_provider(request))))


async def _change_behaviour(request: web.Request) -> web.Response:
    provider = _provider(request)
    try:
        document = json.loads(await request.text())
        wanted = behaviours.from_json(document)
    except (ValueError, RecursionError, LookupError):
        raise refusal(
            400, {"error": "the body is not JSON", "fix": 'send {"fault": "cut"}'}
        ) from None
    except errors.UsageError as error:
        raise refusal(400, {"error": error.problem, "fix": error.fix}) from error
    request.app[DESK].behaviours.change(provider, wanted)
    return web.json_response(asdict(wanted))


async def _show_requests(request: web.Request) -> web.Response:
    return web.json_response(request.app[DESK].behaviours.report())


def _provider(request: web.Request) -> str:
    provider = request.match_info["provider"]
    if provider not in behaviours.PROVIDERS:
        known = ", ".join(behaviours.PROVIDERS)
        raise refusal(
            404, {"error": f"there is no provider {provider[:40]!r}", "fix": f"use one of: {known}"}
        )
    return provider
