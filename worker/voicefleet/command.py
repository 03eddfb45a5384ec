"""What to type to run voicefleet again, as fixes and logs tell it."""

import shlex
import shutil
import sys


def line(*arguments: str) -> str:
    """A command line for a shell: by the command's name, or by this Python where the shell does not
    find that name, as beside a virtual environment.
    """
    found = ["voicefleet"] if shutil.which("voicefleet") else [sys.executable, "-m", "voicefleet"]
    return shlex.join([*found, *arguments])
