"""What can be set, by room: each group with its names in the environment, bounds and meaning; how
they are read, and which values contradict each other.

Used in every process. `os.environ` is read here and nowhere else. No defaults that depend on the
machine: those are decided by the room that knows it.
"""

from voicefleet.settings.loading import Settings as Settings
from voicefleet.settings.loading import adopt as adopt
from voicefleet.settings.loading import completed as completed
from voicefleet.settings.loading import declared as declared
from voicefleet.settings.loading import description as description
from voicefleet.settings.loading import environment as environment
from voicefleet.settings.loading import export_keys_of_plugins as export_keys_of_plugins
from voicefleet.settings.loading import export_otel_settings as export_otel_settings
from voicefleet.settings.loading import for_development as for_development
from voicefleet.settings.loading import for_jobs as for_jobs
from voicefleet.settings.loading import load as load
