"""The one place for LiveKit: every private name, log sentence, span name and patch of it that we
rely on, each with a contract test in `tests/livekit_compat` that says in words what has changed.

Used in the parent and in every job. Nothing else of the package touches what LiveKit keeps to
itself.
"""
