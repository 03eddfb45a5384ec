"""Every name that `livekit_compat` takes from LiveKit's list of attributes is still on it.

Without an import of ours, which would fail first, and without a word on what it means.
"""

import re
from importlib import import_module
from pathlib import Path

import pytest
from livekit.agents.telemetry import trace_types

from tests.livekit_compat.contract import expect, expected_to_work

FOLDER = Path(__file__).parent.parent.parent / "worker" / "voicefleet" / "livekit_compat"
USED = [
    (path.name, name)
    for path in sorted(FOLDER.glob("*.py"))
    for name in sorted(set(re.findall(r"trace_types\.(ATTR_\w+)", path.read_text())))
]


@pytest.mark.parametrize(("file", "name"), USED)
def test_livekit_still_has_the_attribute(file: str, name: str) -> None:
    expect(
        hasattr(trace_types, name),
        f"LiveKit's telemetry/trace_types.py no longer has {name}: livekit_compat/{file} does not"
        " import, and nothing of voicefleet starts. Find its new name, or take it out",
    )


@pytest.mark.parametrize("module", [path.stem for path in sorted(FOLDER.glob("[a-z]*.py"))])
def test_what_we_take_of_livekit_is_where_we_import_it_from(module: str) -> None:
    with expected_to_work(
        f"livekit_compat/{module}.py does not import: something of LiveKit has moved, and nothing"
        " of voicefleet starts."
    ):
        import_module(f"voicefleet.livekit_compat.{module}")
