"""Something that takes a worker's connection and never registers it: it closes, each time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from worker.lab import providers
from worker.lab.changes import Changes
from worker.lab.livekit_server import HOST


@dataclass(slots=True)
class Refusing:
    """Where it is, and how often it was connected to."""

    url: str = ""
    connects: int = 0
    changes: Changes = field(default_factory=Changes)

    async def take(self, request: web.Request) -> web.WebSocketResponse:
        """A worker's connection: its registration is read, and the answer is a close."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.connects += 1
        self.changes.announce()
        await socket.receive()
        await socket.close()
        return socket


@asynccontextmanager
async def refusing() -> AsyncIterator[Refusing]:
    made, app = Refusing(), web.Application()
    app.router.add_get("/agent", made.take)
    # Twirp: an empty body is a ListRoomsResponse without rooms, which the preflight asks for.
    app.router.add_post("/twirp/{method:.*}", _nothing)
    async with providers.serving(app) as port:
        made.url = f"ws://{HOST}:{port}"
        yield made


async def _nothing(_: web.Request) -> web.Response:
    return web.Response(content_type="application/protobuf")
