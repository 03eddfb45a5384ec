"""What the reader of a fix or of a log can type."""

import os
import sys
from pathlib import Path

import pytest

from voicefleet import command


def test_a_command_line_that_is_told_can_be_typed_where_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `make`, the command is in a virtual environment that no shell looks into."""
    environment = tmp_path / "bin"
    environment.mkdir()
    monkeypatch.setattr(sys, "executable", str(environment / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command.line("call", "--say", "Good day.") == (
        f"{environment}/python -m voicefleet call --say 'Good day.'"
    )
    (environment / "voicefleet").touch()
    assert command.line("demo") == f"{environment}/voicefleet demo"
    program = tmp_path / "voicefleet"
    program.touch()
    os.chmod(program, 0o755)
    assert command.line("demo", "--stop") == "voicefleet demo --stop"
