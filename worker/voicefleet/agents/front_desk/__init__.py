"""The front desk of a dental practice. `agent.py` is the LiveKit agent file, `prompt.md` what it is
told; `opening.py` and `calendar.py` are the domain, `changes.py` is what is read back before it is
done, `notes.py` what is known of this call.
"""
