"""The log of every process: one record a line on standard output, in LiveKit's format.

Before a record is written, secrets and what a caller said or is are removed from it, and the trace
id of its call is added.
"""

import logging
import re
import sys
from collections.abc import Collection, Mapping
from typing import Any

from opentelemetry import trace

from voicefleet.livekit_compat import logging as livekit_logging
from voicefleet.settings.telemetry import Logs
from voicefleet.telemetry import call_ids
from voicefleet.telemetry.private import MARK, is_private

HIDDEN = "[hidden]"

# Tokens as LiveKit makes them (JWT), and whatever stands where a header or an address has one.
TOKENS = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]+"
    r"|(?i:(?<=bearer )|(?<=token )|(?<=basic ))[\w.~+/=-]{8,}"
    r"|(?i:(?<=access_token=)|(?<=api_key=)|(?<=apikey=)|(?<=password=))[^&\s\"']+"
)
# Shorter secrets are not hidden: they would take common words with them.
SHORTEST_SECRET = 6
SECRET_KEYS = ("secret", "password", "authorization", "api_key", "apikey", "access_token")

# The fields that every record has; all others came by `extra`.
STANDARD_FIELDS = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {
    "message",
    "asctime",
    "taskName",
}


def configure(logs: Logs, *, allow_pii: bool = False, secrets: Collection[str] = ()) -> None:
    """Send every record at or above the level to standard output, in the chosen format."""
    is_text = sys.stdout.isatty() if logs.format is None else logs.format == "text"
    for handler in livekit_logging.add_handler(logs.level, is_text=is_text):
        handler.addFilter(RedactingFilter(allow_pii=allow_pii, secrets=secrets))


def hide(secrets: Collection[str]) -> None:
    """Remove these secrets, and no longer those that were known, from what is written."""
    for handler in logging.getLogger().handlers:
        for one in handler.filters:
            if isinstance(one, RedactingFilter):
                one.know(secrets)


def add_span_ids() -> None:
    """In a job: add to every record the ids of the span in which it was logged."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(_add_span_ids)


def _add_span_ids(record: logging.LogRecord) -> bool:
    context = trace.get_current_span().get_span_context()
    if context.is_valid and not hasattr(record, "span_id"):
        record.trace_id = f"{context.trace_id:032x}"
        record.span_id = f"{context.span_id:016x}"
    return True


class RedactingFilter(logging.Filter):
    """Removes secrets and private fields, and adds the call's trace id. It changes the record
    itself, because only one handler writes it. From any thread.
    """

    def __init__(self, *, allow_pii: bool, secrets: Collection[str]) -> None:
        super().__init__()
        self._allow_pii = allow_pii
        self.know(secrets)

    def know(self, secrets: Collection[str]) -> None:
        """Remove these secrets from now on."""
        known = sorted((s for s in secrets if len(s) >= SHORTEST_SECRET), key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, known))) if known else None

    def filter(self, record: logging.LogRecord) -> bool:
        self._clean_text(record)
        for key in [key for key in vars(record) if key not in STANDARD_FIELDS]:
            value = self._cleaned(key, vars(record).pop(key))
            if not is_private(key):
                setattr(record, key, value)
            elif self._allow_pii:
                setattr(record, _marked(key), value)
        job_id = getattr(record, "job_id", None)
        if isinstance(job_id, str) and not hasattr(record, "trace_id"):
            record.trace_id = call_ids.trace_id_text(job_id)
        return True

    def _clean_text(self, record: logging.LogRecord) -> None:
        if isinstance(record.msg, str):
            text = _text_of(record)
            if (cleaned := self._without_secrets(text)) != text:
                record.msg, record.args = cleaned, None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self._without_secrets(record.exc_text)
            # A formatter would prefer the exception itself, which still holds the secrets.
            record.exc_info = None

    def _cleaned(self, key: str, value: Any) -> Any:
        if any(word in key.lower() for word in SECRET_KEYS):
            return HIDDEN
        if isinstance(value, str):
            return self._without_secrets(value)
        if isinstance(value, Mapping):
            parts = {str(k): self._cleaned(str(k), v) for k, v in value.items()}
            return {k: v for k, v in parts.items() if self._allow_pii or not is_private(k)}
        if isinstance(value, list | tuple):
            return [self._cleaned(key, part) for part in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        return self._without_secrets(str(value))

    def _without_secrets(self, text: str) -> str:
        if self._secrets is not None:
            text = self._secrets.sub(HIDDEN, text)
        return TOKENS.sub(HIDDEN, text)


def _text_of(record: logging.LogRecord) -> str:
    """The message with its arguments. Arguments that do not fit must not raise in whoever logs:
    logging itself reports them only when the record is written.
    """
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        record.msg, record.args = f"{record.msg} (its arguments do not fit)", None
        return record.getMessage()


def _marked(key: str) -> str:
    """The key of a private field as it is written: under the one mark.

    >>> _marked("lk.pii.text"), _marked("participant")
    ('pii.text', 'pii.participant')
    """
    return MARK + key.rpartition(MARK)[2]
