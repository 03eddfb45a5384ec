"""The mock interview. `agent.py` is the LiveKit agent file, `prompt.md` what it is told,
`scorecard.py` the domain.
"""
