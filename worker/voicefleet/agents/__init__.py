"""What is said: agents that ship with voicefleet, each a folder with an ordinary LiveKit agent
file.

Every `agent.py` can also be run by LiveKit alone (`python -m livekit.agents start`), keeps its
prompt in `prompt.md` and its domain beside it, and builds its session with
`voicefleet.providers`. Copy
one to begin. They share how a call ends (`closing`) and what a silent caller hears (`silence`), and
nothing else. No hosting, no provider names.
"""
