"""A failure of telemetry is logged and never reaches the call."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


@contextmanager
def never_raises() -> Iterator[None]:
    """Log any exception of the block, and go on."""
    try:
        yield
    except Exception as error:
        logger.warning("telemetry failed", extra={"error": repr(error)}, exc_info=True)
