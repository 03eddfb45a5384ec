"""As `worker.job.preload`, for an agent file that builds its session with `worker.providers`."""

import contextlib
from importlib import import_module

with contextlib.suppress(Exception):
    import_module("worker.providers.session")
