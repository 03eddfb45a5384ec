"""The lab is an extra: what a production image leaves out, and how to say that it is missing."""

from importlib.util import find_spec

from worker import errors


def require_lab() -> None:
    """:raises ToolError: if voicefleet was installed without its voice and ears."""
    missing = [name for name in ("pocketsphinx", "espeakng_loader") if find_spec(name) is None]
    if missing:
        raise errors.ToolError(
            f"the lab is not installed here: no {' and no '.join(missing)}",
            fix="pip install 'voicefleet[lab]'",
        )
