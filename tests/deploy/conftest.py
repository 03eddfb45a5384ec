"""Helm itself, found or built once before the first test of the chart."""

import os
from pathlib import Path

import pytest

from deploy.generate import helm
from tests.deploy.rendering import Chart
from voicefleet import errors

HELM = pytest.StashKey[Path | errors.ToolError]()


def pytest_itemcollected(item: pytest.Item) -> None:
    if "chart" in getattr(item, "fixturenames", ()):
        item.add_marker("helm")


def pytest_collection_finish(session: pytest.Session) -> None:
    """A build takes minutes, a test has a time limit."""
    is_needed = any("chart" in getattr(item, "fixturenames", ()) for item in session.items)
    if not is_needed or session.config.option.collectonly:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    try:
        session.config.stash[HELM] = helm.obtain(
            lambda line: reporter.write_line(line) if reporter else None
        )
    except errors.ToolError as error:
        session.config.stash[HELM] = error


@pytest.fixture(scope="session")
def chart(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """A missing tool skips on a laptop and fails in CI."""
    binary = pytestconfig.stash[HELM]
    if isinstance(binary, Path):
        return Chart(binary, tmp_path_factory.mktemp("values"))
    if os.environ.get("CI"):
        raise binary
    pytest.skip(f"{binary.problem}; {binary.fix}")
