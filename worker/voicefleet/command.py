"""What to type to run voicefleet again, as fixes and logs tell it."""

import shlex
import shutil
import sys
from pathlib import Path


def line(*arguments: str) -> str:
    """A command line for a shell: by the command's name, or by its path where the shell does not
    find that name, as in a virtual environment; or by this Python alone.
    """
    beside = Path(sys.executable).with_name("voicefleet")
    if shutil.which("voicefleet"):
        found = ["voicefleet"]
    elif beside.exists():
        found = [str(beside)]
    else:
        found = [sys.executable, "-m", "voicefleet"]
    return shlex.join([*found, *arguments])
