"""The assistant: the small agent to copy. `agent.py` is the LiveKit agent file, `prompt.md` what it
is told.
"""
