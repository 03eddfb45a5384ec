"""GET /metrics: what Prometheus scrapes, beside the probes and on the same port."""

from collections.abc import Awaitable, Callable

from aiohttp import web

Scrape = Callable[[str], Awaitable[tuple[bytes, str]]]


def add(app: web.Application, scrape: Scrape) -> None:
    """Serve what `scrape` gives for the Accept header: the body and its content type."""

    async def answer(request: web.Request) -> web.Response:
        try:
            body, content_type = await scrape(request.headers.get("Accept", ""))
        except (TypeError, ValueError):
            # prometheus_client's, of a version in Accept that is no number: the plain text, then.
            body, content_type = await scrape("")
        return web.Response(body=body, headers={"Content-Type": content_type})

    app.router.add_get("/metrics", answer)
