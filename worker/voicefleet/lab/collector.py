"""A real OpenTelemetry collector on loopback, with the configuration that we ship."""

import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from voicefleet import errors
from voicefleet import settings as settings_module
from voicefleet.lab import processes

HOST = "127.0.0.1"
READY_WITHIN_SECONDS = 30.0
NAMES = ("otelcol-contrib", "otelcol-voicefleet")


def find() -> Path:
    """:raises ToolError: if there is no collector on this machine."""
    on_path = next((path for name in NAMES if (path := shutil.which(name))), None)
    found = settings_module.load().lab.otelcol_bin or on_path
    if found is None:
        raise errors.ToolError(
            "there is no OpenTelemetry collector on this machine",
            fix="install otelcol-contrib or build ops/collector/builder.yaml, and set OTELCOL_BIN",
        )
    return Path(found)


@asynccontextmanager
async def run(binary: Path, config: Path, folder: Path, **environment: str) -> AsyncIterator[str]:
    """The address that takes OTLP/HTTP, for as long as the block lasts; `environment` is what the
    configuration asks for.

    :raises ToolError: if it does not start; with the last lines of its log.
    """
    grpc, http = _free_port(), _free_port()
    ports = {"OTLP_GRPC_PORT": str(grpc), "OTLP_HTTP_PORT": str(http), "OTLP_LISTEN_HOST": HOST}
    running = processes.start(
        "collector",
        [str(binary), "--config", str(config)],
        environment=settings_module.environment() | ports | environment,
        folder=folder,
    )
    try:
        await processes.wait_for_line(
            running, lambda line: "Everything is ready" in line, within_seconds=READY_WITHIN_SECONDS
        )
        yield f"http://{HOST}:{http}"
    finally:
        await processes.stop(running)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
