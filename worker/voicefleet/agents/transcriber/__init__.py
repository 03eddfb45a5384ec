"""The transcriber: an agent that only writes down. `agent.py` is the LiveKit agent file,
`scribe.py` who listens to one participant, `minutes.py` what the room reads of it.
"""
