"""The stand-ins of `voicefleet.lab`, driven by LiveKit's unmodified plugins."""
