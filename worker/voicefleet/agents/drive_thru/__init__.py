"""The drive-through of a burger house. `agent.py` is the LiveKit agent file, `prompt.md` what it is
told, `menu.toml` what can be ordered, `menu.py` and `order.py` the domain.
"""
