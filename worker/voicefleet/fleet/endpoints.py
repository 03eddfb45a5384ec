"""Asks pods for themselves: GET /drainz of every address that a name stands for."""

import asyncio
import os
import socket
from collections.abc import Sequence
from typing import Annotated

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from yarl import URL

from voicefleet import errors
from voicefleet.fleet import pods
from voicefleet.fleet.pods import Phase, Pod, printable

DEFAULT_PORT = 8081
ANSWERS_WITHIN_SECONDS = 5.0
# An answer has 200 bytes.
LONGEST_ANSWER_BYTES = 16 * 1024
MOST_AT_ONCE = 50

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]


class Said(BaseModel):
    """The answer of /drainz, as far as it is shown; newer pods may say more."""

    model_config = ConfigDict(extra="ignore", strict=True)

    phase: Phase
    slots: Count
    calls: Count
    calls_by_state: dict[str, Count]
    oldest_call_seconds: Seconds | None
    seconds_left: Seconds | None


def address_of(text: str) -> URL:
    """`host`, `host:port` or `http://host:port` as the address of a pod.

    :raises UsageError: if it is none of these.
    """
    try:
        url = URL(text if "://" in text else f"http://{text}")
        port = url.port if url.explicit_port or url.scheme == "https" else DEFAULT_PORT
    except ValueError:
        url, port = URL(), None
    if not url.host or url.scheme not in {"http", "https"} or url.path not in {"", "/"}:
        raise errors.UsageError(
            f"{text!r} is no address of a pod", fix="write http://host:port, or host:port"
        )
    return URL.build(scheme=url.scheme, host=url.host, port=port)


async def ask(addresses: Sequence[str]) -> list[Pod]:
    """The pods at these addresses; a name that stands for several is several pods, in order.

    :raises UsageError: if one is not an address.
    """
    urls = [address_of(text) for text in addresses]
    known = await asyncio.gather(*(_resolved(url) for url in urls))
    found = {name: one for several in known for name, one in several.items()}
    timeout = aiohttp.ClientTimeout(total=ANSWERS_WITHIN_SECONDS)
    connector = aiohttp.TCPConnector(limit=MOST_AT_ONCE)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as http:
        return await asyncio.gather(*(_ask(http, name, url) for name, url in found.items()))


async def _resolved(url: URL) -> dict[str, URL]:
    """Each address that the host stands for. A certificate is for a name, so https is left alone,
    and a name that stands for nothing is left to fail.
    """
    whole = {f"{url.host}:{url.port}": url}
    if url.scheme == "https" or url.host is None:
        return whole
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            url.host, url.port, type=socket.SOCK_STREAM
        )
    except OSError:
        return whole
    # A pod of two families has an address of each, and listens on IPv4 unless it is told otherwise.
    family = min(info[0] for info in found)
    addresses = sorted({str(info[4][0]) for info in found if info[0] == family})
    if len(addresses) < 2:
        return whole
    several = [url.with_host(address) for address in addresses]
    return {one.authority: one for one in several}


async def _ask(http: aiohttp.ClientSession, name: str, url: URL) -> Pod:
    try:
        async with http.get(url / "drainz", allow_redirects=False) as response:
            body = await pods.read(response, LONGEST_ANSWER_BYTES)
    except TimeoutError:
        return Pod(name, problem=f"no answer within {ANSWERS_WITHIN_SECONDS:g} s")
    except aiohttp.ClientConnectorError as error:
        code = error.os_error.errno or 0
        # Those of name resolution are below 0, and have words of their own.
        words = os.strerror(code) if code > 0 else error.strerror
        return Pod(name, problem=printable(words or str(error)))
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Pod(name, problem=printable(str(error) or type(error).__name__))
    if response.status != 200:
        return Pod(name, problem=f"answers with the status {response.status}")
    try:
        said = Said.model_validate_json(body)
    except ValidationError:
        return Pod(name, problem="answers, but not as a pod of voicefleet")
    finishing = said.calls_by_state.get("finishing", 0)
    return Pod(
        *(name, said.phase, max(0, said.calls - finishing), said.slots),
        finishing=finishing,
        oldest_call_seconds=said.oldest_call_seconds,
        drain_seconds_left=said.seconds_left if said.phase == "draining" else None,
    )
