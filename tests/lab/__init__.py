"""The stand-ins of `worker.lab`, driven by LiveKit's unmodified plugins."""
