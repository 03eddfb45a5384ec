"""What is said: the agents that ship with voicefleet, each a folder with an ordinary LiveKit agent
file.

LiveKit alone can run every `agent.py` too (`python -m livekit.agents start`). Each has its prompt
in `prompt.md` and its domain beside it, and builds its session with `voicefleet.build_session`.
Copy one to begin. They share how a call ends (`closing`) and what a silent caller hears
(`silence`), and nothing else. No hosting, no provider names.
"""
