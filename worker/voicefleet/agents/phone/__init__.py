"""A workshop's telephone, over SIP and both ways. `agent.py` is the LiveKit agent file, `prompt.md`
what it is told, `telephone.py` the line, `dialling.py` the call out, `repairs.py` the domain.
"""
