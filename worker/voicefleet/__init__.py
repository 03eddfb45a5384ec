"""voicefleet hosts LiveKit voice agents so that no call is lost.

What an agent file may use of it is here, and stays as it is between versions; `build_session` is
the one that most need. Each is imported when it is first used, so that `import voicefleet` does not
import LiveKit. Everything else belongs to the command `voicefleet`, and may change.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voicefleet.providers.background import play as play_background_sound
    from voicefleet.providers.listener import build as build_listening_session
    from voicefleet.providers.prepared import settings_of
    from voicefleet.providers.realtime import build as build_realtime_session
    from voicefleet.providers.session import build as build_session
    from voicefleet.providers.session import voice as build_voice

__version__: str

__all__ = [
    "__version__",
    "build_listening_session",
    "build_realtime_session",
    "build_session",
    "build_voice",
    "play_background_sound",
    "settings_of",
]

_WHERE = {
    "build_listening_session": ("voicefleet.providers.listener", "build"),
    "build_realtime_session": ("voicefleet.providers.realtime", "build"),
    "build_session": ("voicefleet.providers.session", "build"),
    "build_voice": ("voicefleet.providers.session", "voice"),
    "play_background_sound": ("voicefleet.providers.background", "play"),
    "settings_of": ("voicefleet.providers.prepared", "settings_of"),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("voicefleet")
    if name not in _WHERE:
        raise AttributeError(f"module 'voicefleet' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    return getattr(import_module(module), attribute)
