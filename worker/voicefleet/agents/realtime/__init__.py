"""The library's telephone on one model that hears, thinks and speaks. `agent.py` is the LiveKit
agent file, `prompt.md` what it is told; what it looks up is the assistant's `library`.
"""
