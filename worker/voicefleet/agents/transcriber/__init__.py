"""The transcriber: an agent that only writes down. `agent.py` is the LiveKit agent file,
`scribe.py` who listens to one participant, `transcript.py` what the room reads of it.
"""
