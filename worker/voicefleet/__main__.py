"""The command `voicefleet`; `python -m voicefleet` runs it too."""

import os
import sys


def main() -> None:
    """Run one verb, with the current folder on the path, whichever way it was started."""
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    if "start" in sys.argv:
        # Before LiveKit's framework is imported, which takes seconds.
        from voicefleet.cli import signals

        signals.leave_when_told()
    from voicefleet.cli import app

    app.main()


if __name__ == "__main__":
    main()
