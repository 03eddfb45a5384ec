"""Reading the kernel's small text files, and what the numbers in them mean.

The parsers raise ValueError for what is not theirs. The kernel ends every one of these files with a
line end, so text without one was torn, and its last number may be the head of a longer one.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

# The longest number the kernel writes is of 64 bits.
MOST_DIGITS = 20

# v1 writes "no limit" as the largest whole page in 63 bits; no machine has as much as this.
NO_LIMIT_BYTES = 1 << 60

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class KernelFiles:
    """Reads kernel files; says once of each that it cannot be read or understood, never raises."""

    warned: set[Path] = field(default_factory=set)

    def read(self, path: Path, parse: Callable[[str], T], *, may_miss: bool = False) -> T | None:
        """The file's value, or None. `may_miss`: that it is not there is no news."""
        try:
            return parse(path.read_bytes().decode("ascii"))
        except (OSError, ValueError) as error:
            if path not in self.warned and not (may_miss and isinstance(error, OSError)):
                self.warned.add(path)
                logger.warning(
                    "kernel file not read", extra={"path": str(path), "error": str(error)}
                )
            return None


def whole(text: str) -> int:
    """`4096`: a file of one number, as memory.current and cpuacct.usage."""
    return _number(_complete(text))


def keyed(text: str, key: str) -> int:
    """The number beside a key, as in cpu.stat and memory.stat ("flat keyed")."""
    for line in _complete(text).split("\n"):
        name, _, value = line.partition(" ")
        if name == key:
            return _number(value)
    raise ValueError(f"expected a line {key}")


def limit_bytes(text: str) -> int | None:
    """memory.max (`max` or bytes) and v1's memory.limit_in_bytes; None is no limit."""
    word = _complete(text)
    if word == "max":
        return None
    value = _number(word)
    return value if value < NO_LIMIT_BYTES else None


def quota_cores(text: str) -> float | None:
    """cpu.max, `$MAX $PERIOD` in µs, as cores: 1.5 for `150000 100000`; None for `max 100000`."""
    quota, _, period = _complete(text).partition(" ")
    if quota == "max":
        return None
    if _number(quota) == 0 or _number(period) == 0:
        raise ValueError("expected a quota and a period above 0")
    return int(quota) / int(period)


def quota_us(text: str) -> int | None:
    """v1's cpu.cfs_quota_us; None for -1, which is no limit."""
    word = _complete(text)
    return None if word == "-1" else _number(word)


def pressure_ratio(text: str) -> float:
    """cpu.pressure, `some avg10=…` in percent, as a ratio: how much of the last 10 s at least one
    process waited (https://docs.kernel.org/accounting/psi.html).
    """
    for line in _complete(text).split("\n"):
        kind, _, values = line.partition(" ")
        if kind == "some":
            whole_part, _, decimals = values.partition(" ")[0].removeprefix("avg10=").partition(".")
            percent = _number(whole_part) + _number(decimals) / 10.0 ** len(decimals)
            return min(1.0, percent / 100)
    raise ValueError("expected a line some avg10=")


def working_set_bytes(held: int | None, inactive_cache: int | None) -> int | None:
    """What is held less the page cache that goes first, as kubelet counts it: the working set of
    https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/.
    """
    if held is None or inactive_cache is None:
        return None
    # Two files, read one after the other: the cache may have grown in between.
    return max(0, held - inactive_cache)


def memberships(text: str) -> dict[str, str]:
    """/proc/self/cgroup, lines of `id:controllers:path`, as controller → path; "" is v2's."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def _complete(text: str) -> str:
    if not text.endswith("\n"):
        raise ValueError("expected a line end: the file was torn")
    return text.removesuffix("\n")


def _number(word: str) -> int:
    if not (word.isascii() and word.isdecimal() and len(word) <= MOST_DIGITS):
        raise ValueError(f"expected a number, not {word[:MOST_DIGITS]!r}")
    return int(word)
