"""The endpoints over real sockets: what Kubernetes reads, and what people read."""

import asyncio
import errno
import json
import logging
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from tests.pod.asking import NOW, PATHS, alive, client_of, errors_in, get, pod, raw, table
from voicefleet.pod import probes
from voicefleet.pod.http import application, serving
from voicefleet.pod.phase import Phase

TOKEN = "a drain token"  # noqa: S105


async def dead() -> bool:
    return False


async def silent() -> bool:
    await asyncio.Event().wait()
    return True


async def broken() -> bool:
    raise RuntimeError("no such process")


async def test_startup_fails_until_models_are_warm_and_livekit_has_taken_the_pod() -> None:
    state = pod(is_warm=False, is_registered=False)
    async with client_of(state) as client:
        assert await get(client, "/startupz") == (
            503,
            "[-]models-warm failed: models are still loading\n"
            "[-]registered failed: LiveKit has not taken this pod yet\n"
            "startupz check failed\n",
        )
        state.prewarm_failures += 1
        assert (
            "[-]models-warm failed: processes that failed to load: 1, see the log"
            in (await get(client, "/startupz"))[1]
        )
        state.warmed()
        assert (await get(client, "/startupz"))[0] == 503
        state.is_registered = True
        assert await get(client, "/startupz") == (200, "ok")


async def test_startup_and_liveness_stay_good_through_drain_and_stop() -> None:
    state = pod()
    async with client_of(state) as client:
        state.begin_drain(60)
        assert await get(client, "/startupz") == (200, "ok")
        assert await get(client, "/livez") == (200, "ok")
        state.is_stopped = True
        assert await get(client, "/startupz") == (200, "ok")
        assert await get(client, "/livez") == (200, "ok")


async def test_a_pod_that_still_starts_is_alive_but_not_ready() -> None:
    async with client_of(pod(is_warm=False)) as client:
        assert await get(client, "/livez") == (200, "ok")
        assert (await get(client, "/readyz"))[0] == 503


@pytest.mark.parametrize(
    ("inference", "reason"),
    [
        (dead, "the inference process has died"),
        (silent, "no answer within 0.05 s"),
        (broken, "the check itself raised, see the log"),
    ],
)
async def test_liveness_fails_with_the_reason_when_inference_does_not_live(
    inference: Callable[[], Awaitable[bool]],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probes, "INFERENCE_SECONDS", 0.05)
    async with client_of(pod(), inference=inference) as client:
        status, text = await get(client, "/livez")
        assert status == 503
        assert text.splitlines() == [
            "[+]event-loop ok",
            f"[-]inference failed: {reason}",
            "livez check failed",
        ]
        assert await get(client, "/readyz") == (200, "ok")


async def test_readiness_stays_while_every_slot_is_taken() -> None:
    async with client_of(pod(), table(0.0, 0.0)) as client:
        assert await get(client, "/readyz") == (200, "ok")


async def test_readiness_never_asks_for_the_calls() -> None:
    calls = table()
    calls._calls = None  # type: ignore[assignment]  # raises when looked into
    async with client_of(pod(), calls) as client:
        assert await get(client, "/readyz") == (200, "ok")


async def test_readiness_ends_for_good_once_told_to_stop() -> None:
    state = pod()
    async with client_of(state) as client:
        state.begin_drain(60)
        assert await get(client, "/readyz") == (
            503,
            "[+]started ok\n[-]not-draining failed: told to stop\nreadyz check failed\n",
        )
        state.is_stopped = True
        assert (await get(client, "/readyz"))[0] == 503


async def test_verbose_gives_a_line_for_each_check_and_the_verdict_last() -> None:
    async with client_of(pod()) as client:
        for path in ("/readyz?verbose", "/readyz?verbose=1"):
            assert await get(client, path) == (
                200,
                "[+]started ok\n[+]not-draining ok\nreadyz check passed\n",
            )


async def test_an_excluded_check_is_not_run_and_counts_as_passed() -> None:
    async with client_of(pod(), inference=broken) as client:
        assert await get(client, "/livez?exclude=inference") == (200, "ok")
        assert (await get(client, "/livez?verbose&exclude=inference"))[1].splitlines() == [
            "[+]event-loop ok",
            "[+]inference excluded: ok",
            "livez check passed",
        ]


async def test_exclude_can_be_repeated() -> None:
    async with client_of(pod(is_warm=False, is_registered=False)) as client:
        assert (await get(client, "/startupz?exclude=registered"))[0] == 503
        assert (await get(client, "/startupz?exclude=registered&exclude=models-warm"))[0] == 200


async def test_an_unknown_exclude_warns_without_repeating_it() -> None:
    async with client_of(pod()) as client:
        status, text = await get(client, "/readyz?verbose&exclude=<script>")
        assert status == 200
        assert "warn: some health checks cannot be excluded" in text
        assert "started, not-draining" in text
        assert "script" not in text
        assert await get(client, "/readyz?exclude=whatever") == (200, "ok")


async def test_a_single_check_has_its_own_path() -> None:
    state = pod()
    state.begin_drain(60)
    async with client_of(state) as client:
        assert await get(client, "/readyz/started") == (200, "ok")
        assert await get(client, "/readyz/started?verbose") == (
            200,
            "[+]started ok\nreadyz check passed\n",
        )
        assert (await get(client, "/readyz/not-draining"))[0] == 503
        assert (await get(client, "/readyz/not-draining?exclude=not-draining"))[0] == 503


@pytest.mark.parametrize("name", ["nope", "inference", "%00", "%ff%fe", "..%2f..", "é"])
async def test_an_unknown_check_is_answered_with_the_names(name: str) -> None:
    async with client_of(pod()) as client:
        answer = await raw(client, f"GET /readyz/{name} HTTP/1.0\r\n\r\n".encode())
        assert answer.startswith((b"HTTP/1.0 404", b"HTTP/1.0 400"))
        if name.isalpha() and name.isascii():
            assert b"readyz has only these checks: started, not-draining" in answer


@pytest.mark.parametrize("accept", ["application/json", "text/html, Application/JSON;q=0.9"])
async def test_a_client_that_accepts_json_gets_it(accept: str) -> None:
    state = pod()
    state.begin_drain(60)
    async with (
        client_of(state) as client,
        client.get("/readyz", headers={"Accept": accept}) as response,
    ):
        assert response.status == 503
        assert await response.json() == {
            "status": "failed",
            "checks": {
                "started": {"ok": True, "detail": "started"},
                "not-draining": {"ok": False, "detail": "told to stop"},
            },
        }


async def test_json_of_a_good_pod_says_ok() -> None:
    async with (
        client_of(pod()) as client,
        client.get("/livez?exclude=inference", headers={"Accept": "application/json"}) as response,
    ):
        assert response.status == 200
        answer = await response.json()
        assert answer["status"] == "ok"
        assert answer["checks"]["inference"] == {"ok": True, "detail": "excluded"}


@pytest.mark.parametrize("path", PATHS)
async def test_head_has_the_status_of_get_and_no_body(path: str) -> None:
    async with client_of(pod()) as client, client.head(path) as response:
        assert response.status == 200
        assert await response.read() == b""
    async with client_of(pod(is_warm=False)) as client:
        answer = await raw(client, b"HEAD /readyz HTTP/1.0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.0 503")
        assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("path", [*PATHS, "/nowhere"])
async def test_no_answer_may_be_cached(path: str) -> None:
    async with client_of(pod()) as client, client.get(path) as response:
        assert "no-cache" in response.headers["Cache-Control"]


async def test_drainz_shows_a_pod_that_does_not_drain() -> None:
    async with (
        client_of(pod(), table(90.0, 0.0)) as client,
        client.get("/drainz") as response,
    ):
        assert response.status == 200
        assert await response.json() == {
            "phase": "ready",
            "slots": 2,
            "free_slots": 0,
            "calls": 2,
            "calls_by_state": {
                "offered": 0,
                "accepted": 0,
                "running": 2,
                "resuming": 0,
                "finishing": 0,
            },
            "oldest_call_seconds": 90.0,
            "drain_began_at": None,
            "drain_deadline_at": None,
            "seconds_left": None,
        }


async def test_drainz_counts_down_and_stops_at_zero() -> None:
    state = pod()
    state.begin_drain(60)
    async with client_of(state) as client:
        state.clock = lambda: NOW + 20
        assert json.loads((await get(client, "/drainz"))[1])["seconds_left"] == 40.0
        state.clock = lambda: NOW + 100
        assert json.loads((await get(client, "/drainz"))[1])["seconds_left"] == 0.0


async def test_verbose_drainz_is_lines_for_people() -> None:
    state = pod()
    state.begin_drain(60)
    calls = table(0.0, 0.0)
    calls.caller_left(next(iter(calls)))
    async with client_of(state, calls) as client:
        assert (await get(client, "/drainz?verbose"))[1].splitlines() == [
            "phase: draining",
            "slots: 2",
            "free_slots: 1",
            "calls: 2",
            "calls_by_state: 1 running, 1 finishing",
            "oldest_call_seconds: 0 s",
            "drain_began_at: 1970-01-12T13:46:40+00:00",
            "drain_deadline_at: 1970-01-12T13:47:40+00:00",
            "seconds_left: 60 s",
        ]


async def test_a_drain_from_loopback_begins_once_and_is_accepted_each_time() -> None:
    state = pod()
    began: list[Phase] = []

    def begin() -> None:
        began.append(state.phase)
        state.begin_drain(60)

    async with client_of(state, begin_drain=begin, token=TOKEN) as client:
        for later_seconds in (0, 30):
            state.clock = lambda later=later_seconds: NOW + later  # type: ignore[misc]
            async with client.post("/drainz") as response:
                assert response.status == 202
                answer = await response.json()
            assert answer["phase"] == "draining"
            assert answer["drain_began_at"] == NOW
        assert began == [Phase.READY]
        assert (await get(client, "/readyz"))[0] == 503


async def test_a_pod_that_has_stopped_is_not_told_again() -> None:
    state = pod()
    state.is_stopped = True
    async with (
        client_of(state, begin_drain=lambda: pytest.fail("told again")) as client,
        client.post("/drainz") as response,
    ):
        assert response.status == 202


async def test_reading_drainz_begins_no_drain() -> None:
    async with client_of(pod(), begin_drain=lambda: pytest.fail("drained")) as client:
        assert (await get(client, "/drainz"))[0] == 200
        async with client.head("/drainz") as response:
            assert response.status == 200


@pytest.mark.parametrize("header", ["Origin", "X-Forwarded-For", "Forwarded", "Via"])
async def test_a_web_page_or_a_proxy_on_loopback_needs_the_token(header: str) -> None:
    state = pod()
    speaks = {header: "http://evil.example"}
    async with client_of(state, token=TOKEN) as client:
        for wrong in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", "Bearer \u00e9\udcff"):
            headers = {**speaks, "Authorization": wrong}
            raw_headers = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            request = f"POST /drainz HTTP/1.0\r\n{raw_headers}\r\n"
            answer = await raw(client, request.encode("utf-8", "surrogateescape"))
            assert answer.startswith(b"HTTP/1.0 403"), answer
            assert b"Authorization: Bearer" in answer
        assert state.drain_began_at is None
        right = {**speaks, "Authorization": f"Bearer {TOKEN}"}
        async with client.post("/drainz", headers=right) as response:
            assert response.status == 202
        assert state.phase is Phase.DRAINING


async def test_an_unknown_path_is_answered_with_those_that_exist() -> None:
    app = application(pod(), table(), lambda: None, inference_is_alive=alive, drain_token=None)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text="")

    app.router.add_get("/metrics", metrics)
    async with serving(app, "127.0.0.1", 0) as port, aiohttp.ClientSession() as client:
        for path in ("", "healthz", "readyz/", "readyz/a/b", "%2e%2e/etc/passwd"):
            async with client.get(f"http://127.0.0.1:{port}/{path}") as response:
                assert response.status == 404
                listed = (await response.text()).splitlines()
            assert {*PATHS, "/metrics", "/readyz/{check}"} <= set(listed)


@pytest.mark.parametrize("path", PATHS)
async def test_a_wrong_method_is_told_the_right_ones(path: str) -> None:
    async with client_of(pod()) as client, client.request("DELETE", path) as response:
        assert response.status == 405
        allowed = response.headers["Allow"]
        assert allowed == ("GET, HEAD, POST" if path == "/drainz" else "GET, HEAD")
        assert allowed in await response.text()


async def test_a_taken_port_is_an_os_error() -> None:
    app = application(pod(), table(), lambda: None, inference_is_alive=alive, drain_token=None)
    again = application(pod(), table(), lambda: None, inference_is_alive=alive, drain_token=None)
    async with serving(app, "127.0.0.1", 0) as port:
        with pytest.raises(OSError) as caught:  # noqa: PT011 (the errno says which)
            async with serving(again, "127.0.0.1", port):
                pass
        assert caught.value.errno == errno.EADDRINUSE


async def test_a_small_body_with_a_drain_does_no_harm() -> None:
    async with client_of(pod()) as client:
        async with client.post("/drainz", json={"why": "spot notice"}) as response:
            assert response.status == 202
        async with client.post("/drainz", data=b"x" * 2000) as response:
            assert response.status == 413


async def test_requests_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with client_of(pod()) as client:
        assert (await get(client, "/livez"))[0] == 200
    assert [r for r in caplog.records if r.name.startswith(("aiohttp.access", "worker"))] == []


async def test_a_defect_of_ours_is_a_500_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def begin_drain() -> None:
        raise RuntimeError("a defect")

    async with client_of(pod(), begin_drain=begin_drain) as client:
        async with client.post("/drainz") as response:
            assert response.status == 500
            assert "a defect" not in await response.text()
        assert await get(client, "/readyz") == (200, "ok")
    assert errors_in(caplog) != []
