"""`python -m worker`: the command line of voicefleet."""

import sys

from worker.cli import leaving

if __name__ == "__main__":
    if "start" in sys.argv:
        leaving.when_told()
    from worker.cli.app import main

    main()
