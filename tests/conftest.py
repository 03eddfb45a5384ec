"""What tests share: a real livekit-server, found or built once, for those marked `server`."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from voicefleet import errors
from voicefleet import settings as settings_module
from voicefleet.lab import livekit_server as server_module
from voicefleet.lab.livekit_server import LiveKitServer

logger = logging.getLogger("asyncio")


def _in_a_line(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a loop says of an error that nobody has asked about. With its traceback, as asyncio says
    it, Python 3.11 parses code; where the garbage collector has found the task while other code is
    parsed, that ends with "SystemError: AST constructor recursion depth mismatch".
    """
    logger.error("%s: %r", context.get("message"), context.get("exception"))


asyncio.BaseEventLoop.default_exception_handler = _in_a_line  # type: ignore[assignment,method-assign]

BINARY = pytest.StashKey[Path | errors.ToolError]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Get the server before the first test: a build takes minutes, a test has a time limit."""
    is_needed = any(item.get_closest_marker("server") for item in session.items)
    if not is_needed or session.config.option.collectonly:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    try:
        session.config.stash[BINARY] = asyncio.run(
            server_module.obtain(
                binary=settings_module.load().lab.livekit_server_bin,
                progress=lambda line: reporter.write_line(line) if reporter else None,
            )
        )
    except errors.ToolError as error:
        session.config.stash[BINARY] = error


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting in the environment, and no .env in the folder."""
    for name in settings_module.declared():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def livekit_server_binary(pytestconfig: pytest.Config) -> Path:
    """A missing tool skips on a laptop and fails in CI."""
    binary = pytestconfig.stash[BINARY]
    if isinstance(binary, Path):
        return binary
    if os.environ.get("CI"):
        raise binary
    pytest.skip(f"{binary.problem}; {binary.fix}")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def livekit_server(livekit_server_binary: Path) -> AsyncIterator[LiveKitServer]:
    async with server_module.run(livekit_server_binary) as server:
        yield server
