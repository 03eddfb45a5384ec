"""What a terminal shows while a verb is imported: LiveKit's framework takes seconds."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Of a terminal (ECMA-48): back to the first column, and erase what stands there.
ERASE_LINE = "\r\x1b[K"


@contextmanager
def shown() -> Iterator[None]:
    """Show at a terminal that something is done, and nothing of it afterwards."""
    is_seen = sys.stderr.isatty()
    if is_seen:
        print("loading ...", end="", flush=True, file=sys.stderr)
    try:
        yield
    finally:
        if is_seen:
            print(ERASE_LINE, end="", flush=True, file=sys.stderr)
