"""`dev` restarts when the agent changes, and says so."""

import pytest
import watchfiles

from voicefleet.cli.dev import Sources


@pytest.mark.parametrize(
    ("path", "restarts"),
    [
        ("agent.py", True),
        ("shop/prompts/greeting.md", True),
        (".env", True),
        # It restarted for ever where its own log lay in the folder.
        ("dev.log", False),
        ("calendar.sqlite3", False),
        ("reports/AJ_1.json", False),
        (".venv/lib/module.py", False),
    ],
)
def test_it_restarts_for_what_an_agent_is_made_of(path: str, restarts: bool) -> None:
    assert Sources()(watchfiles.Change.modified, f"/home/me/shop/{path}") is restarts
