"""The transcriber: an agent that only writes down. `agent.py` is the LiveKit agent file,
`attendance.py` who is in the room and for how long.
"""
