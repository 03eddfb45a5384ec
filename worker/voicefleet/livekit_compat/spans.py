"""LiveKit's spans that the facts of a call are read from, by name, with the attributes read.

The names of the spans are written where LiveKit starts them and stand in no public list
(livekit-agents 1.8.9; the file is named at each). Those of the attributes are public, in
telemetry/trace_types.py. LiveKit ends these spans whatever the agent file does.
"""

from livekit.agents.telemetry import trace_types

# The instrumentation scope of all of LiveKit's spans (telemetry/traces.py).
SCOPE = "livekit-agents"

# The job's root span: it starts at LiveKit's offer and ends with the job
# (ipc/job_proc_lazy_main.py).
JOB_ENTRYPOINT = "job_entrypoint"
# Ends when the agent is in the room, or could not join it (job.py).
ROOM_CONNECT = "room_connect"
# The caller's part of a turn: ends when the turn is committed (voice/audio_recognition.py).
USER_TURN = "user_turn"
# One request to an LLM, a child of the agent's turn; a tool call makes a second one
# (voice/generation.py).
LLM_NODE = "llm_node"
# One request to a TTS, a child of the agent's turn (voice/generation.py).
TTS_NODE = "tts_node"
# The agent's part of a turn: ends when its speech is over (voice/agent_activity.py).
AGENT_TURN = "agent_turn"
# The job's event loop stood still for as long as this span lasts (telemetry/loop_monitor.py).
EVENT_LOOP_BLOCKED = "event_loop_blocked"
# One agent hands over to another: ends when the new one has been started (voice/agent_session.py).
UPDATE_AGENT = "update_agent"

# Of a user turn, in seconds from the end of the caller's speech: to the final transcript, and to
# the decision that the turn is over. 0 if LiveKit does not know.
TRANSCRIPTION_DELAY = trace_types.ATTR_TRANSCRIPTION_DELAY
END_OF_TURN_DELAY = trace_types.ATTR_END_OF_TURN_DELAY
# Of an LLM node: seconds to the first token.
TIME_TO_FIRST_TOKEN = trace_types.ATTR_RESPONSE_TTFT
# Of a TTS node: seconds to the first audio.
TIME_TO_FIRST_BYTE = trace_types.ATTR_RESPONSE_TTFB
# Of an agent turn: seconds from the end of the caller's speech to the agent's. Only for an answer.
END_TO_END_LATENCY = trace_types.ATTR_E2E_LATENCY
# Of an agent turn that was interrupted: what did it, and the seconds that had been played.
INTERRUPTION_SOURCE = trace_types.ATTR_INTERRUPTION_SOURCE
PLAYOUT_POSITION = trace_types.ATTR_PLAYOUT_POSITION
# Of update_agent: the names of the agents.
PREVIOUS_AGENT = trace_types.ATTR_PREVIOUS_AGENT_LABEL
NEW_AGENT = trace_types.ATTR_AGENT_LABEL

# The sources of an interruption that are a caller who speaks (voice/speech_handle.py,
# `InterruptionSource`); the other one is the agent file.
CALLER_SPOKE = frozenset({"audio_activity", "user_turn"})
