"""How a test of what we rely on fails: in one sentence, which says what LiveKit has changed, what
of ours breaks by it, and where we have written it down.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


def expect(condition: object, sentence: str) -> None:
    """Fail with this sentence unless it is so."""
    __tracebackhide__ = True
    if not condition:
        raise AssertionError(sentence)


@contextmanager
def expected_to_work(sentence: str) -> Iterator[None]:
    """Fail with this sentence, and with what was raised, if the block raises anything."""
    __tracebackhide__ = True
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{sentence} LiveKit raised {error!r}") from error


def expect_in_source(of: ModuleType | type, text: str, sentence: str) -> None:
    """Fail with this sentence unless the text stands in the source: for what LiveKit says only
    where a process is killed, or a room is gone.
    """
    __tracebackhide__ = True
    expect(text in inspect.getsource(of), sentence)
