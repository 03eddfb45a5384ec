"""Whether LiveKit answers and takes our key, asked before the worker starts."""

import asyncio
import logging

import aiohttp
from livekit import api

from voicefleet import errors
from voicefleet.backoff import Backoff
from voicefleet.settings.livekit import LiveKit

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
ATTEMPT_SECONDS = 10.0


async def check(livekit: LiveKit) -> None:
    """One signed request to LiveKit's room service, which answers only to a valid key.

    :raises LiveKitError: if nothing answers there, or what does is no LiveKit, or refuses the key.
    """
    try:
        await _list_no_rooms(livekit)
    except api.TwirpError as error:
        raise _refused(livekit, error) from error
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise Unreachable(
            f"LiveKit does not answer at {livekit.url}: {error or type(error).__name__}",
            fix="correct LIVEKIT_URL, or start LiveKit, or open the way to it",
        ) from error


async def wait(livekit: LiveKit) -> None:
    """Wait for a LiveKit that does not answer yet; a key that is refused ends the wait at once.

    :raises LiveKitError: when `livekit.wait_seconds` have passed, or the key is refused.
    """
    deadline = asyncio.get_running_loop().time() + livekit.wait_seconds
    pauses = Backoff(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
    while True:
        try:
            return await check(livekit)
        except Unreachable as error:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                raise
            logger.warning(
                "livekit does not answer yet",
                extra={"problem": error.problem, "gives_up_in_seconds": round(left)},
            )
        await asyncio.sleep(min(pauses.next_seconds(), left))


class Unreachable(errors.LiveKitError):
    """Nothing answers; it may yet."""


async def _list_no_rooms(livekit: LiveKit) -> None:
    timeout = aiohttp.ClientTimeout(total=ATTEMPT_SECONDS)
    async with api.LiveKitAPI(
        livekit.url, livekit.api_key, livekit.secret, timeout=timeout
    ) as client:
        await client.room.list_rooms(api.ListRoomsRequest(names=["-"]))


def _refused(livekit: LiveKit, error: api.TwirpError) -> errors.LiveKitError:
    answer = f"{error.status} {error.message}"
    if error.status in {401, 403}:
        return errors.LiveKitError(
            f"LiveKit at {livekit.url} refuses the key {livekit.api_key!r}: {answer}",
            fix="correct LIVEKIT_API_KEY and LIVEKIT_API_SECRET",
        )
    return Unreachable(
        f"the server at {livekit.url} does not answer as LiveKit does: {answer}",
        fix="correct LIVEKIT_URL, or see LiveKit's own log",
    )
