"""Where prewarm leaves what it has loaded: keys of LiveKit's `JobProcess.userdata`."""

SETTINGS = "voicefleet.settings"
# The one that LiveKit's documentation uses, so that either side finds the other's.
VAD = "vad"
LLM = "voicefleet.llm"
