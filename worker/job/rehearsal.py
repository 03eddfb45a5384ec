"""What any call does first and is slow the first time, done once before the fork: modules that
clients import on first use, and the CA bundle, which takes a tenth of a second to parse on a busy
machine. In a call each of these would stop its audio.
"""

import asyncio

import openai
from livekit.agents.utils import http_context


def rehearse() -> None:
    """Leaves modules and LiveKit's shared TLS context behind; no thread, loop or connection."""
    # Not asyncio.run(), which leaves the thread without a loop to get.
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(_clients())
    finally:
        loop.close()


async def _clients() -> None:
    # The session that the plugins share (livekit-agents 1.8.9, utils/http_context.py): it keeps
    # the TLS context of the process.
    async with http_context.open():
        pass
    async with openai.AsyncOpenAI(api_key="unused") as client:
        # Imported when they are asked for: 60 modules, and the schemas of their types.
        _ = client.chat.completions, client.audio.speech, client.audio.transcriptions
