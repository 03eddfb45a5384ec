"""GET /metrics beside the probes."""

import logging

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from tests.pod.asking import alive, pod, table
from voicefleet.pod import http


async def test_metrics_are_served_in_the_format_that_is_asked_for() -> None:
    async def scrape(accept: str) -> tuple[bytes, str]:
        return b"up 1\n", f"text/plain; for={accept}"

    app = http.application(
        pod(), table(), lambda: None, inference_is_alive=alive, drain_token=None, scrape=scrape
    )
    async with (
        http.serving(app, "127.0.0.1", 0) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
        client.get("/metrics", headers={"Accept": "text/plain"}) as response,
    ):
        assert response.status == 200
        assert await response.text() == "up 1\n"
        assert response.headers["Content-Type"] == "text/plain; for=text/plain"


@pytest.mark.parametrize(
    "accept", ["text/plain; version=abc", "application/openmetrics-text; version=", "\x80;;q=,", ""]
)
async def test_a_hostile_accept_is_answered_in_plain_text(
    accept: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scrape(accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        return encode(CollectorRegistry()), content_type

    app = http.application(
        pod(), table(), lambda: None, inference_is_alive=alive, drain_token=None, scrape=scrape
    )
    async with (
        http.serving(app, "127.0.0.1", 0) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
        client.get("/metrics", headers={"Accept": accept}) as response,
    ):
        assert response.status == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
