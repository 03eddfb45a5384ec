"""What the worker of a stack has said: its log, one JSON object a line."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from voicefleet.telemetry.messages import Outcome

CALLED_FROM = re.compile(r'File "(?P<path>[^"]+)", line (?P<line>\d+)')


def records(log: Path) -> Iterator[dict[str, Any]]:
    """Every record, in order; what is none, as the output of a program, is left out."""
    text = log.read_text(encoding="utf-8", errors="replace")
    # The worker may be writing the last line.
    whole, _, _ = text.rpartition("\n")
    for line in whole.splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def port(log: Path) -> int:
    """Where the worker's endpoints listen."""
    return next(int(r["port"]) for r in records(log) if r["message"] == "endpoints listen")


def failed_calls(log: Path) -> int:
    """How many calls are over that have failed."""
    over = [record for record in records(log) if record["message"] == "call over"]
    return sum(record["outcome"] == Outcome.FAILED for record in over)


def raised_by(agent: str, log: Path) -> str:
    """The last error that came through this agent's file, a path or a module, and its line there;
    empty if there is none.
    """
    end = agent if agent.endswith(".py") else f"/{agent.replace('.', '/')}.py"
    told = ""
    for record in records(log):
        text = f"{record['message']}\n{record.get('exc_info', '')}".strip()
        own = [at["line"] for at in CALLED_FROM.finditer(text) if at["path"].endswith(end)]
        if own:
            told = f"{text.splitlines()[-1]} (line {own[-1]})"
    return told
