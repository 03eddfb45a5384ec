"""Whether each chosen provider answers and takes our key, asked the way a call will ask.

Each probe opens what the plugin opens and closes it again, which costs nothing: the websocket of
Deepgram and of Cartesia, the list of models of OpenAI.
"""

from collections.abc import Awaitable, Callable

import aiohttp

from voicefleet import errors
from voicefleet.providers import keys
from voicefleet.providers.keys import PIPELINE, Part
from voicefleet.settings.providers import Providers

ATTEMPT_SECONDS = 10.0

Probe = Callable[[aiohttp.ClientSession, Providers], Awaitable[None]]


def chosen(settings: Providers, parts: frozenset[Part] = PIPELINE) -> dict[str, Probe]:
    """The probes of every provider chosen for these parts, by the name to show; other plugins have
    none.
    """
    providers = {model.provider for model in keys.chosen(settings, parts - {"llm"})}
    probes: dict[str, Probe] = {name: p for name, p in PROBES.items() if name in providers}
    is_asked = any(model.provider == "openai" for model in keys.chosen(settings, parts & {"llm"}))
    return probes | ({"llm": _llm} if is_asked else {})


async def check(name: str, probe: Probe, settings: Providers) -> None:
    """:raises ProviderError: if it does not answer, or refuses the key."""
    timeout = aiohttp.ClientTimeout(total=ATTEMPT_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            await probe(session, settings)
    except aiohttp.ClientResponseError as error:
        raise _answered(name, error) from error
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise errors.ProviderError(
            f"{name} does not answer: {error or type(error).__name__}",
            fix=f"correct {URL_OF[name]}, or open the way to it",
        ) from error


async def _deepgram(session: aiohttp.ClientSession, settings: Providers) -> None:
    key = keys.required(settings.deepgram_api_key, "DEEPGRAM_API_KEY")
    query = {"model": "nova-3", "encoding": "linear16", "sample_rate": "16000"}
    async with session.ws_connect(
        settings.deepgram_url, params=query, headers={"Authorization": f"Token {key}"}
    ) as socket:
        await socket.send_json({"type": "CloseStream"})


async def _cartesia(session: aiohttp.ClientSession, settings: Providers) -> None:
    key = keys.required(settings.cartesia_api_key, "CARTESIA_API_KEY")
    url = f"{settings.cartesia_url}/tts/websocket"
    async with session.ws_connect(
        url, params={"cartesia_version": "2025-04-16"}, headers={"X-API-Key": key}
    ):
        return


async def _openai(session: aiohttp.ClientSession, settings: Providers) -> None:
    key = keys.required(settings.openai_api_key, "OPENAI_API_KEY")
    await _models(session, settings.openai_url, key)


async def _llm(session: aiohttp.ClientSession, settings: Providers) -> None:
    key = keys.required(settings.llm_api_key or settings.openai_api_key, "OPENAI_API_KEY")
    await _models(session, settings.llm_url or settings.openai_url, key)


async def _models(session: aiohttp.ClientSession, url: str, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    async with session.get(f"{url.rstrip('/')}/models", headers=headers) as response:
        response.raise_for_status()


def _answered(name: str, error: aiohttp.ClientResponseError) -> errors.ProviderError:
    if error.status in {401, 403}:
        return errors.ProviderError(
            f"{name} refuses the key ({error.status})", fix=f"correct {KEY_OF[name]}"
        )
    return errors.ProviderError(
        f"{name} answers {error.status} {error.message}",
        fix=f"correct {URL_OF[name]}, or see the provider's status page",
    )


PROBES: dict[str, Probe] = {"deepgram": _deepgram, "cartesia": _cartesia, "openai": _openai}
KEY_OF = keys.KEY_OF | {"llm": "OPENAI_API_KEY, or VOICEFLEET_LLM_API_KEY where that is set"}
URL_OF = {
    "deepgram": "VOICEFLEET_DEEPGRAM_URL",
    "cartesia": "VOICEFLEET_CARTESIA_URL",
    "openai": "OPENAI_BASE_URL",
    "llm": "OPENAI_BASE_URL, or VOICEFLEET_LLM_URL where that is set",
}
