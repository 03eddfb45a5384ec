"""The endpoints under attack: every answer is a 4xx, the log stays clean, the next probe passes."""

import asyncio
import random

import pytest

from tests.pod.asking import PATHS, client_of, close, connect, errors_in, get, pod, raw, status_of
from voicefleet.pod.phase import Phase

CHUNKED = b"POST /drainz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

HOSTILE = {
    "a header of a megabyte": b"GET /readyz HTTP/1.1\r\nHost: a\r\nX: "
    + b"x" * 1_000_000
    + b"\r\n\r\n",
    "ten thousand headers": b"GET /readyz HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
    "a very long exclude": b"GET /readyz?exclude="
    + b"x" * 100_000
    + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "a body of a megabyte": b"POST /drainz HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
    + b"x" * 1_000_000,
    "a chunked body of 4 KB": CHUNKED + b"1000\r\n" + b"x" * 4096 + b"\r\n0\r\n\r\n",
    "a malformed chunk": CHUNKED + b"zz\r\n",
    "two lengths": b"GET /livez HTTP/1.1\r\nHost: a\r\n"
    b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a negative length": b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "bad percent-encoding": b"GET /livez/%zz%ff%00?%ff=%zz HTTP/1.1\r\nHost: a\r\n\r\n",
    "a host with a port of letters": b"GET http://[::1]:abc/livez HTTP/1.1\r\nHost: a\r\n\r\n",
    "a proxy's request": b"CONNECT example.com:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "an expectation": b"GET /livez HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("sent", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_bytes_get_a_4xx_and_leave_no_traceback(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    state = pod()
    async with client_of(state) as client:
        answer = await raw(client, sent)
        assert status_of(answer) in range(400, 500), answer
        assert await get(client, "/readyz") == (200, "ok")
    assert state.phase is Phase.READY
    assert errors_in(caplog) == []


@pytest.mark.parametrize(
    "sent", [b"", b"GET /re", b"POST /drainz HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc"]
)
async def test_a_client_that_leaves_in_the_middle_drains_nothing(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    state = pod()
    async with client_of(state) as client:
        assert await raw(client, sent) == b""
        assert await get(client, "/readyz") == (200, "ok")
    assert errors_in(caplog) == []


def mutation(rng: random.Random, request: bytes) -> bytes:
    if rng.random() < 0.3:
        return rng.randbytes(rng.randrange(1, 400)) + rng.choice([b"", b"\r\n\r\n"])
    mutated = bytearray(request)
    for _ in range(rng.randrange(1, 6)):
        mutated[rng.randrange(len(mutated))] = rng.randrange(256)
    return bytes(mutated)


async def test_random_bytes_never_get_a_5xx_and_the_server_still_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rng = random.Random(20)
    good = b"GET /livez?exclude=inference&verbose HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n"
    with_body = b"POST /readyz HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
    async with client_of(pod()) as client:
        for _ in range(15):
            sent = [mutation(rng, rng.choice([good, with_body])) for _ in range(40)]
            answers = await asyncio.gather(*(raw(client, each) for each in sent))
            for each, answer in zip(sent, answers, strict=True):
                assert status_of(answer) in {None, 200, *range(400, 500)}, (each, answer)
            assert await get(client, "/livez") == (200, "ok")
    assert errors_in(caplog) == []


async def test_random_paths_never_get_a_5xx_and_the_server_still_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rng = random.Random(21)
    pieces = [*PATHS, "/", "?", "&", "=", "%2f", "%", "%ff", "%00", "..", "exclude", "verbose", ";"]
    pieces += ["started", "#", "{check}", "é", "\u202e", "//", ":", "@", "[", "+", "http://a", "~"]
    methods = ["GET", "HEAD", "PUT", "OPTIONS", "TRACE", "BREW", "CONNECT"]
    async with client_of(pod()) as client:
        for _ in range(600):
            path = rng.choice(["/", "", *PATHS]) + "".join(rng.choices(pieces, k=rng.randrange(8)))
            sent = f"{rng.choice(methods)} {path} HTTP/1.0\r\n\r\n".encode()
            answer = await raw(client, sent)
            assert status_of(answer) in {200, *range(400, 500)}, (sent, answer)
        assert await get(client, "/readyz") == (200, "ok")
    assert errors_in(caplog) == []


async def test_slow_clients_delay_neither_answers_nor_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.get_running_loop()
    writers: list[asyncio.StreamWriter] = []
    async with client_of(pod()) as client:
        for beginning in (
            b"",
            b"GET /rea",
            b"POST /drainz HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n",
        ):
            for _ in range(10):
                _, writer = await connect(client)
                writer.write(beginning)
                writers.append(writer)
        asked_at = loop.time()
        assert await get(client, "/livez") == (200, "ok")
        assert loop.time() - asked_at < 1
        ends_at = loop.time()
    assert loop.time() - ends_at < 5
    for writer in writers:
        await close(writer)
    assert errors_in(caplog) == []


async def test_a_body_that_never_comes_ends_in_a_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicefleet.pod.http.BODY_SECONDS", 0.05)
    async with client_of(pod()) as client:
        reader, writer = await connect(client)
        writer.write(b"POST /drainz HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        assert b" 408 " in await reader.readline()
        await close(writer)
