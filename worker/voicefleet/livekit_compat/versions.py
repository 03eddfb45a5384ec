"""The versions of livekit-agents that voicefleet was tested with, by `make compat`: the oldest and
the newest passed the contract tests and a real call. `pyproject.toml` allows the rest of the minor.
"""

import re

# The oldest in which a server takes `preload_modules`, by which jobs share memory.
OLDEST = "1.8.7"
NEWEST = "1.8.9"


def warning_for(version: str) -> str | None:
    """What a person should know who runs this version of livekit-agents; None for a tested one."""
    if _key(OLDEST) <= _key(version) <= _key(NEWEST):
        return None
    return (
        f"livekit-agents is {version}, and voicefleet was tested with {OLDEST} to {NEWEST}: make"
        f" test calls with it before it takes real ones, or install livekit-agents=={NEWEST}"
    )


def _key(version: str) -> tuple[tuple[int, ...], bool]:
    """In the order of versions; one that is not final (1.9.0rc1) comes before the final one."""
    release = re.match(r"[\d.]*\d", version)
    numbers = release.group() if release else "0"
    return tuple(map(int, numbers.split("."))), numbers == version
