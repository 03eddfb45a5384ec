"""The command `voicefleet`, which `python -m voicefleet` is too."""

import os
import sys


def main() -> None:
    """Run one verb, with the current folder on the path, as `python -m` has it.

    A SIGTERM is answered from here on: process 1 of a container does not even hear one for which it
    has no handler, and LiveKit's framework takes seconds to import.
    """
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    if "start" in sys.argv:
        from voicefleet.cli import signals

        signals.leave_when_told()
    from voicefleet.cli import app

    app.main()


if __name__ == "__main__":
    main()
