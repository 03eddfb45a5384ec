"""How a call ends when it is the agent that ends it, or when its providers fail.

LiveKit alone leaves the caller in a silent room: a closed session neither hangs up nor ends the
job.
"""

from typing import Any

from livekit.agents import (
    AgentSession,
    CloseEvent,
    CloseReason,
    ConversationItemAddedEvent,
    ErrorEvent,
    get_job_context,
    llm,
)

SAY_AGAIN = "I am sorry, I lost you for a moment. Could you say that again?"
APOLOGY = "I am sorry, something is wrong on our side. Please call again later. Goodbye."

# Failures without an answer in between that a call survives. Each is unrecoverable in LiveKit's
# words: the retries, and the next providers of a fallback chain, have failed as well.
FORGIVEN_FAILURES = 2


def hang_up(
    session: AgentSession[Any], *, reason: CloseReason = CloseReason.USER_INITIATED
) -> None:
    """Say what is queued, then end the call: the line goes down and the slot is free. The `reason`
    is what the fleet counts: a call ended for an error is one that failed.

    Safe inside a tool. What is said last should be said with `allow_interruptions=False`.
    """
    session.once("close", lambda _: _end_job(reason))
    session.shutdown(drain=True)


def give_up(session: AgentSession[Any]) -> None:
    """End a call whose realtime model is lost, with an apology if there is a TTS beside it.

    Such a session cannot close: the model's last error is raised by its own `aclose`, and no close
    event comes (livekit-agents 1.8.9, llm/_realtime/openai.py). So the job ends with the last word.
    """
    # LiveKit would wait five seconds for the model to remember it.
    speech = session.say(APOLOGY, add_to_chat_ctx=False) if session.tts is not None else None
    # LiveKit cuts off what is said where it closes the session by itself.
    session.shutdown(drain=True)
    if speech is None:
        _end_job(CloseReason.ERROR)
    else:
        speech.add_done_callback(lambda _: _end_job(CloseReason.ERROR))


def watch(session: AgentSession[Any]) -> None:
    """Answer the failures of this session's providers, for as long as it runs."""
    failures = _Failures(session)
    session.on("error", failures.on_error)
    session.on("conversation_item_added", failures.on_item)
    session.on("close", failures.on_close)


class _Failures:
    """Counts failures in a row, and asks, apologises or hangs up."""

    def __init__(self, session: AgentSession[Any]) -> None:
        self._session = session
        self._in_a_row = 0

    def on_error(self, event: ErrorEvent) -> None:
        if event.error.recoverable or self._in_a_row > FORGIVEN_FAILURES:
            return
        self._in_a_row += 1
        kind = event.error.type
        if kind == "realtime_model_error":
            self._in_a_row = FORGIVEN_FAILURES + 1
            give_up(self._session)
        elif self._in_a_row > FORGIVEN_FAILURES:
            if kind in ("llm_error", "stt_error"):
                self._session.say(APOLOGY, allow_interruptions=False)
            hang_up(self._session, reason=CloseReason.ERROR)
        elif kind == "llm_error":
            # An STT's stream is made anew by LiveKit, and without a voice there is nothing to say.
            self._session.say(SAY_AGAIN)

    def on_item(self, event: ConversationItemAddedEvent) -> None:
        item = event.item
        if not isinstance(item, llm.ChatMessage) or item.role != "assistant":
            return
        if item.text_content not in (SAY_AGAIN, APOLOGY):
            self._in_a_row = 0

    def on_close(self, event: CloseEvent) -> None:
        if event.reason is CloseReason.ERROR:
            _end_job(event.reason)


def _end_job(reason: CloseReason) -> None:
    # Outside a job (a console, a test) there is no line to cut.
    job = get_job_context(required=False)
    if job is None:
        return

    async def delete_room() -> None:
        await job.delete_room()

    job.add_shutdown_callback(delete_room)
    job.shutdown(reason=reason.value)
