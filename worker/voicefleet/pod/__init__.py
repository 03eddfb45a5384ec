"""The pod: the one parent process that registers with LiveKit and hands each call to a process of
its own.

Wires LiveKit's `AgentServer` from settings and the agent file, runs it, and says why it ended.
Never runs agent code beyond importing the file and asking its request handler. Nothing of a single
call lives here: that is `voicefleet.job`.
"""
