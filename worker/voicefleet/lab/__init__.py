"""Stands in for the world on one machine, never in production: providers, caller, livekit-server,
the whole stack.

The stand-ins speak the providers' real wire protocols, so that LiveKit's unmodified plugins talk to
them; the caller is a real WebRTC participant; livekit-server is the real one. Imported only by
`voicefleet.cli` and the tests.
"""
