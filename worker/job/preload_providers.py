"""As `worker.job.preload`, for an agent file that builds its session with `worker.providers`: the
plugins of the chosen chains.
"""

import contextlib

with contextlib.suppress(Exception):
    from worker import settings
    from worker.providers import session

    session.import_plugins(settings.load().providers)
