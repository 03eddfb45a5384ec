"""The agent whose tools come from an MCP server. `agent.py` is the LiveKit agent file, `prompt.md`
what it is told, `toolbox.py` its way to the tools, `parcels.py` a small server to try it with.
"""
