"""How log records leave the process: JSON lines for machines, readable ones for a terminal.

Jobs send their records to the parent (livekit-agents 1.8.9, ipc/log_queue.py), so one set-up in the
parent serves both, and what must not be written is taken out there, whoever logged it.
"""

import logging
import sys
from collections.abc import Collection

from livekit.agents.cli.log import setup_logging
from opentelemetry import trace

from worker.telemetry.log_hygiene import Hygiene
from worker.telemetry_groups import Logs


def configure(logs: Logs, *, allow_pii: bool = False, secrets: Collection[str] = ()) -> None:
    """Send every record at or above the level to standard output, in the chosen format."""
    is_text = sys.stdout.isatty() if logs.format is None else logs.format == "text"
    root = logging.getLogger()
    before = set(root.handlers)
    setup_logging(logs.level, devmode=is_text, console=False)
    for handler in set(root.handlers) - before:
        handler.addFilter(Hygiene(allow_pii=allow_pii, secrets=secrets))


def name_spans() -> None:
    """In a job: every record that leaves it names the span in which it was logged."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(_name_span)


def _name_span(record: logging.LogRecord) -> bool:
    context = trace.get_current_span().get_span_context()
    if context.is_valid and not hasattr(record, "span_id"):
        record.trace_id = f"{context.trace_id:032x}"
        record.span_id = f"{context.span_id:016x}"
    return True
