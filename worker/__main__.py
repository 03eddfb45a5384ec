"""`python -m worker`: the command line of voicefleet."""

from worker.cli.app import main

if __name__ == "__main__":
    main()
