"""What the tests need beside a cluster: named in the environment, so that any cluster will do."""

import os
from typing import NoReturn

import pytest

OTHER_ADDRESS = "VOICEFLEET_OTHER_ADDRESS"
"""Another address of this machine that pods reach."""


def named(variable: str) -> str:
    """What the environment says, or a skipped test; CI has to have it."""
    return os.environ.get(variable) or missing(f"{variable} is not set")


def missing(what: str) -> NoReturn:
    """Skips on a laptop and fails in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}; see tests/cluster/README.md")
    pytest.skip(f"{what}; see tests/cluster/README.md")
