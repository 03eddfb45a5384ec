"""An agent that sees: `agent.py` is the LiveKit agent file, `prompt.md` what it is told, and
`eyes.py` what the caller shows.
"""
