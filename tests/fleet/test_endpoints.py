"""Asking pods for themselves: real endpoints, and strangers who answer at a pod's address."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.pod.asking import NOW, alive, pod, table
from voicefleet.errors import UsageError
from voicefleet.fleet import endpoints
from voicefleet.fleet.pods import LONGEST_WORDS, Pod, totals
from voicefleet.pod.calls import CallTable
from voicefleet.pod.http import application, serving
from voicefleet.pod.phase import PodState

GOOD = (
    '{"phase":"ready","slots":2,"calls":2,"calls_by_state":{"running":1,"finishing":1},'
    '"oldest_call_seconds":3.0,"seconds_left":null}'
)


@asynccontextmanager
async def served(state: PodState, calls: CallTable | None = None) -> AsyncIterator[str]:
    app = application(
        state,
        table() if calls is None else calls,
        lambda: state.begin_drain(60),
        inference_is_alive=alive,
        drain_token=None,
    )
    async with serving(app, "127.0.0.1", 0) as port:
        yield f"127.0.0.1:{port}"


@asynccontextmanager
async def stranger(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with serving(app, "127.0.0.1", 0) as port:
        yield f"127.0.0.1:{port}"


def saying(text: str, status: int = 200) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text, status=status)

    return answer


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def test_a_pod_with_calls_is_shown_as_it_is() -> None:
    async with served(pod(), table(90.0, 0.0)) as address:
        (found,) = await endpoints.ask([f"http://{address}/"])
    assert found == Pod(address, "ready", calls=2, slots=2, oldest_call_seconds=90.0)


async def test_a_pod_that_drains_says_how_long_it_may_still_take() -> None:
    state, calls = pod(), table(5.0)
    state.begin_drain(60)
    state.clock = lambda: NOW + 20
    async with served(state, calls) as address:
        (found,) = await endpoints.ask([address])
    assert (found.phase, found.calls, found.drain_seconds_left) == ("draining", 1, 40.0)


async def test_a_pod_that_is_not_there_does_not_hide_the_others() -> None:
    nowhere = free_address()
    async with served(pod()) as address:
        there, silent = await endpoints.ask([address, nowhere])
    assert there.phase == "ready"
    assert (silent.name, silent.is_silent) == (nowhere, True)
    assert "refused" in silent.problem.lower()
    assert totals([there, silent]).pods["silent"] == 1


async def test_free_slots_are_those_of_ready_pods_alone() -> None:
    pods = [
        Pod("a", "ready", calls=1, slots=4),
        Pod("b", "draining", calls=1, slots=4),
        Pod("c", "starting", slots=4),
        Pod("d", problem="silent"),
    ]
    assert (totals(pods).free_slots, totals(pods).calls) == (3, 2)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "<html>",
        "[]",
        "null",
        "[" * 10_000,
        GOOD.replace('"ready"', '"gone"'),
        GOOD.replace('"ready"', '"\\u001b[2J"'),
        GOOD.replace("2", "-1"),
        GOOD.replace("2", '"2"'),
        GOOD.replace("2", "1e400"),
        GOOD.replace("3.0", "NaN"),
        GOOD.replace("3.0", "-3.0"),
        GOOD.replace('"calls":2,', ""),
    ],
)
async def test_whoever_is_no_pod_is_a_row_that_says_so(answer: str) -> None:
    async with stranger(saying(answer)) as address:
        (found,) = await endpoints.ask([address])
    assert found == Pod(address, problem="answers, but not as a pod of voicefleet")


async def test_an_answer_without_end_is_given_up() -> None:
    async with stranger(saying(GOOD + " " * endpoints.LONGEST_ANSWER_BYTES)) as address:
        (found,) = await endpoints.ask([address])
    assert found == Pod(address, problem="its answer does not end")


async def test_an_answer_of_a_newer_pod_that_says_more_is_taken() -> None:
    async with stranger(saying('{"mood":"good",' + GOOD[1:])) as address:
        (found,) = await endpoints.ask([address])
    assert (found.calls, found.problem) == (1, "")


async def test_an_error_and_a_way_elsewhere_are_told_and_not_followed() -> None:
    async def elsewhere(request: web.Request) -> web.Response:
        assert request.path == "/drainz", "the redirect was followed"
        raise web.HTTPFound("/elsewhere")

    async with stranger(elsewhere) as sends_away, stranger(saying("", 500)) as fails:
        moved, broken = await endpoints.ask([sends_away, fails])
    assert moved.problem == "answers with the status 302"
    assert broken.problem == "answers with the status 500"


async def test_one_who_never_answers_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(endpoints, "ANSWERS_WITHIN_SECONDS", 0.2)

    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async with stranger(never) as address, served(pod()) as there:
        silent, found = await endpoints.ask([address, there])
    assert silent.problem == "no answer within 0.2 s"
    assert found.phase == "ready"


async def test_what_speaks_no_http_is_told_in_one_printable_line() -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x1b[2J\x07SSH-2.0\r\n" * 200)
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        (found,) = await endpoints.ask([f"{host}:{port}"])
    assert found.is_silent
    assert found.problem.isprintable()
    assert 0 < len(found.problem) <= LONGEST_WORDS


async def test_a_name_that_stands_for_several_pods_is_a_row_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with served(pod()) as address:
        port = int(address.rpartition(":")[2])

        async def two(*_: object, **__: object) -> list[tuple[object, ...]]:
            family, kind = socket.AF_INET, socket.SOCK_STREAM
            v6 = (socket.AF_INET6, kind, 6, "", ("::1", port, 0, 0))
            both = ("127.0.0.1", "127.0.0.2", "127.0.0.1")
            return [v6, *((family, kind, 6, "", (host, port)) for host in both)]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", two)
        found = await endpoints.ask([f"voices-headless.talk:{port}"])
    assert [one.name for one in found] == [f"127.0.0.1:{port}", f"127.0.0.2:{port}"]
    assert found[0].phase == "ready"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("10.0.0.1", "http://10.0.0.1:8081"),
        ("pod:9000", "http://pod:9000"),
        ("http://pod", "http://pod"),
        ("http://pod:80/", "http://pod"),
        ("https://pod", "https://pod"),
        ("[::1]:8081", "http://[::1]:8081"),
    ],
)
def test_an_address_may_be_a_host_a_host_and_port_or_a_url(text: str, url: str) -> None:
    wanted = url if url != "http://pod" or text == "http://pod:80/" else "http://pod:8081"
    assert str(endpoints.address_of(text)) == wanted


@pytest.mark.parametrize("text", ["", "http://", "ftp://pod", "http://pod/metrics", "pod:x", ":80"])
def test_what_is_no_address_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="no address of a pod"):
        endpoints.address_of(text)
