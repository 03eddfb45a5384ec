"""The service line of a telephone company: four desks that hand one call to each other. `agent.py`
is the LiveKit agent file, `prompt.md` what every desk is told and `reception.md` and so on what one
is; `case.py` is what they know of the call, `records.py` the domain.
"""
