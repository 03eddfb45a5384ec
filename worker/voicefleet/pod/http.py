"""The pod's HTTP endpoints: probes for Kubernetes, metrics, and the drain for whoever operates it.

Paths, status codes, `?verbose` and `?exclude` follow Kubernetes' own health endpoints:
https://kubernetes.io/docs/reference/using-api/health-checks/
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import http_exceptions, web

from voicefleet.pod import drainz, probes
from voicefleet.pod.calls import CallTable
from voicefleet.pod.phase import PodState

Scrape = Callable[[str], Awaitable[tuple[bytes, str]]]

LONGEST_BODY_BYTES = 1024
# No endpoint needs a body; a client that announces one and does not send it is not waited for.
BODY_SECONDS = 5.0
LINGERING_SECONDS = 1.0
# The kubelet opens a connection for each probe; a scraper keeps one for its interval.
KEEPALIVE_SECONDS = 75.0
SHUTDOWN_SECONDS = 1.0

# With any of these a loopback peer speaks for someone else: a browser for a web page, a proxy
# (a mesh sidecar arrives from 127.0.0.6) for the network.
SPEAKS_FOR_ANOTHER = ("Origin", "Forwarded", "X-Forwarded-For", "Via")

DRAIN_REFUSED = (
    "a drain is started from inside the pod (loopback), or with the header"
    " 'Authorization: Bearer <drain token>' where a drain token is set\n"
)

# No cache may remember an answer, no browser reinterpret it; Kubernetes sends both.
HEADERS = {"Cache-Control": "no-cache, private", "X-Content-Type-Options": "nosniff"}


def application(
    state: PodState,
    table: CallTable,
    begin_drain: Callable[[], None],
    *,
    inference_is_alive: Callable[[], Awaitable[bool]],
    drain_token: str | None,
    scrape: Scrape | None = None,
) -> web.Application:
    """Probes and /drainz over this state; other endpoints can be added to its router.

    A probe answers 200 or 503 (https://kubernetes.io/docs/reference/using-api/health-checks/).
    `begin_drain` is called on the event loop, must not block, may be called again before the state
    shows a drain, and should put the drain into the state before it returns, so that the answer to
    POST /drainz shows it. `inference_is_alive` is true where no inference process is needed.
    """
    app = web.Application(client_max_size=LONGEST_BODY_BYTES, middlewares=[_guard])
    for probe, checks in probes.of(state, inference_is_alive).items():
        handler = _probe(probe, checks)
        app.router.add_get(f"/{probe}", handler)
        app.router.add_get(f"/{probe}/{{check}}", handler)

    async def show_drain(request: web.Request) -> web.Response:
        return _drain_answer(request, state, table, status=200)

    async def start_drain(request: web.Request) -> web.Response:
        speaks_for_another = any(name in request.headers for name in SPEAKS_FOR_ANOTHER)
        peer = None if speaks_for_another else request.remote
        if not drainz.may_drain(peer, request.headers.get("Authorization"), drain_token):
            return _text(DRAIN_REFUSED, status=403)
        if state.drain_began_at is None and not state.is_stopped:
            begin_drain()
        return _drain_answer(request, state, table, status=202)

    app.router.add_get("/drainz", show_drain)
    app.router.add_post("/drainz", start_drain)
    if scrape is not None:
        app.router.add_get("/metrics", _metrics(scrape))
    return app


@asynccontextmanager
async def serving(app: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """Listen while the context lasts; yields the port, which is a free one where 0 was asked for.

    :raises OSError: with EADDRINUSE if the port is taken.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_http_logger(),
        # A body is only ever thrown away: no reason to inflate it.
        auto_decompress=False,
        keepalive_timeout=KEEPALIVE_SECONDS,
        lingering_time=LINGERING_SECONDS,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _probe(
    probe: str, all_checks: probes.Checks
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Answers /<probe> and /<probe>/<check>."""

    async def answer(request: web.Request) -> web.Response:
        single = request.match_info.get("check")
        if single is None:
            checks, excluded = all_checks, set(request.query.getall("exclude", []))
        elif single in all_checks:
            checks, excluded = {single: all_checks[single]}, set()
        else:
            return _text(f"{probe} has only these checks: {', '.join(all_checks)}\n", status=404)

        verdicts = await probes.ask(checks, exclude=excluded)
        status = 200 if probes.passed(verdicts) else 503
        if _wants_json(request):
            return _json(probes.as_json(verdicts), status=status)
        # Kubernetes gives the lines of a failed probe without being asked, too.
        if "verbose" in request.query or status != 200:
            unknown = not excluded <= all_checks.keys()
            lines = probes.as_lines(probe, verdicts, unknown_excluded=unknown)
            return _text(lines, status=status)
        return _text("ok", status=status)

    return answer


@web.middleware
async def _guard(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What no endpoint expects ends here, as a 4xx that says what is expected."""
    if request.match_info.http_exception is not None:
        return _not_found_or_not_allowed(request, request.match_info.http_exception)
    if request.body_exists:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                await request.read()  # raises 413 past LONGEST_BODY_BYTES
        except TimeoutError:
            return _text("the announced body did not come; none is needed\n", status=408)
        except (web.RequestPayloadError, http_exceptions.HttpProcessingError, ConnectionError):
            return _text("the body is malformed; none is needed\n", status=400)
    return await handler(request)


def _not_found_or_not_allowed(request: web.Request, error: web.HTTPException) -> web.Response:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        answer = _text(f"this path takes {allowed}\n", status=405)
        answer.headers["Allow"] = allowed
        return answer
    paths = sorted({resource.canonical for resource in request.app.router.resources()})
    return _text("no such path; there are:\n" + "\n".join(paths) + "\n", status=404)


def _drain_answer(
    request: web.Request, state: PodState, table: CallTable, *, status: int
) -> web.Response:
    report = drainz.report(state, table)
    if "verbose" in request.query:
        return _text(drainz.as_lines(report), status=status)
    return _json(report, status=status)


def _wants_json(request: web.Request) -> bool:
    ranges = ",".join(request.headers.getall("Accept", [])).split(",")
    return any(r.partition(";")[0].strip().lower() == "application/json" for r in ranges)


def _text(text: str, *, status: int) -> web.Response:
    return web.Response(text=text, status=status, headers=HEADERS)


def _json(value: object, *, status: int) -> web.Response:
    text = json.dumps(value, indent=2) + "\n"
    return web.Response(text=text, status=status, content_type="application/json", headers=HEADERS)


def _http_logger() -> logging.Logger:
    """aiohttp's log, without a traceback for each client that speaks no HTTP."""
    http_logger = logging.getLogger(f"{__name__}.http")
    http_logger.addFilter(_is_our_fault)
    return http_logger


def _is_our_fault(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, http_exceptions.HttpProcessingError)


def _metrics(scrape: Scrape) -> Callable[[web.Request], Awaitable[web.Response]]:
    """GET /metrics: what `scrape` gives for the Accept header, the body and its content type."""

    async def answer(request: web.Request) -> web.Response:
        try:
            body, content_type = await scrape(request.headers.get("Accept", ""))
        except (TypeError, ValueError):
            # prometheus_client's, of a version in Accept that is no number: the plain text, then.
            body, content_type = await scrape("")
        return web.Response(body=body, headers={"Content-Type": content_type})

    return answer
