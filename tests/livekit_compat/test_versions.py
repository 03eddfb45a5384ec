"""The versions of LiveKit that we were tested with are those that we say and install."""

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest

from tests.livekit_compat.contract import expect
from voicefleet.livekit_compat import versions
from voicefleet.livekit_compat.versions import NEWEST, OLDEST

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("version", [OLDEST, NEWEST, "1.8.8"])
def test_a_tested_version_needs_no_word(version: str) -> None:
    assert versions.warning_for(version) is None


@pytest.mark.parametrize(
    "version", ["1.8.6", "1.8.10", "1.9.0", "1.9.0rc1", "2.0", f"{OLDEST}rc1", "0+unknown", ""]
)
def test_any_other_version_is_named_with_what_to_do(version: str) -> None:
    warning = versions.warning_for(version)
    assert warning is not None
    assert version in warning
    assert f"{OLDEST} to {NEWEST}" in warning
    assert f"install livekit-agents=={NEWEST}" in warning


def test_pyproject_allows_every_tested_version_and_no_other_minor() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    livekit = [one for one in project["dependencies"] if re.match(r"livekit-(agents|plugins)", one)]
    assert len(livekit) == 6
    major, minor, _ = NEWEST.split(".")
    allowed = f">={OLDEST},<{major}.{int(minor) + 1}"
    assert [one for one in livekit if not one.endswith(allowed)] == []


def test_the_lock_has_the_newest_that_was_tested() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    locked = dict(re.findall(r"^(livekit-(?:agents|plugins-[a-z-]+))==(\S+)", lock, re.MULTILINE))
    # The product's own, and the one of the tests.
    assert len(locked) == 7
    assert set(locked.values()) == {NEWEST}


def test_the_plugins_may_be_of_the_frameworks_version() -> None:
    """A plugin of LiveKit's asks for the framework of its own version, or a later one."""
    for plugin in ("openai", "deepgram", "cartesia", "silero", "turn-detector"):
        asks = [one for one in requires(f"livekit-plugins-{plugin}") or () if "agents" in one]
        expect(
            asks and all(">=" in one and "==" not in one for one in asks),
            f"livekit-plugins-{plugin} now asks for {asks}: the range in pyproject.toml may give it"
            " a framework that it does not run with",
        )
