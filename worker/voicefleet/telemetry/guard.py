"""How telemetry fails: with one warning, and never into the call that it watches."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)


@contextmanager
def never_raises() -> Iterator[None]:
    """Whatever the block raises is logged, and the call goes on."""
    try:
        yield
    except Exception as error:
        logger.warning("telemetry failed", extra={"error": repr(error)}, exc_info=True)
