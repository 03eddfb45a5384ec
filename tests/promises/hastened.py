"""The rules and alerts of ops/ with every duration shortened, so that a drill takes seconds."""

import re
from pathlib import Path

from tests.ops import rule_files

# A minute is 3 s: as many scrapes, of a second each, as a minute has of 15 or 20 s.
TIMES = 20

UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def files(folder: Path) -> list[Path]:
    """Copies of all rules and alerts; nothing but their times is another."""
    written = []
    for path in (*rule_files.RULES, *rule_files.ALERTS):
        copy = folder / f"{path.parent.name}-{path.name}"
        copy.write_text(hastened(path.read_text()))
        written.append(copy)
    return written


def hastened(text: str) -> str:
    """Ranges, `offset`, `for` and intervals; and seconds as numbers, which go with them."""
    durations = r"(?<=\[)[\dsmhd:]+(?=\])|(?<=offset )\d+[smhd]|(?<=for: )\d+[smhd]"
    text = re.sub(durations, lambda m: ":".join(map(shorter, m[0].split(":"))), text)
    text = re.sub(r"(?<=interval: )\d+s", "1s", text)
    numbers = r"((?:time\(\) [-+]|:pod /|\d+m?s\]\) \*) )(\d+)"
    return re.sub(numbers, lambda m: m[1] + format(int(m[2]) / TIMES, "g"), text)


def shorter(duration: str) -> str:
    amount, unit = int(duration[:-1]), duration[-1]
    return f"{amount * UNITS_MS[unit] // TIMES}ms"
