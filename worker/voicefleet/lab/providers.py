"""The stand-ins for all providers as one web server:
`python -m voicefleet.lab.providers --port 8010`.

Their addresses: /deepgram/v1/listen, /openai/v1, /cartesia; behaviour and records: /lab.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from voicefleet import errors
from voicefleet.lab import behaviour, cartesia, conversation, deepgram, openai, reception
from voicefleet.lab.behaviour import Behaviours
from voicefleet.lab.conversation import Conversation
from voicefleet.lab.reception import DESK, Desk
from voicefleet.lab.recognition import Recognizer

HOST = "127.0.0.1"
# OpenAI's own limit for a recording, and a little for the form around it.
MAX_BODY_BYTES = 26 * 1024 * 1024
# Requests that are still open when the server stops: silent ones never end by themselves.
GRACE_SECONDS = 1.0


def application(
    conversation: Conversation, *, key: str | None = None, behaviours: Behaviours | None = None
) -> web.Application:
    """Every stand-in on one conversation. With a key, a request that carries another gets its
    provider's 401.

    :raises UsageError: if a word that the caller says cannot be pronounced.
    """
    Recognizer(conversation.caller_phrases)  # now, and not in the first call; it also warms up
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app[DESK] = Desk(conversation, key, behaviours or Behaviours())
    for standing_in in (deepgram, openai, cartesia, reception):
        standing_in.add_routes(app.router)
    return app


@asynccontextmanager
async def serving(app: web.Application, port: int = 0, host: str = HOST) -> AsyncIterator[int]:
    """Listen on `host` and give the port; 0 takes any that is free.

    :raises PortError: if the port is taken.
    """
    runner = web.AppRunner(
        app, handler_cancellation=True, access_log=None, shutdown_timeout=GRACE_SECONDS
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    except OSError as error:
        raise errors.PortError(
            f"cannot listen on {host}:{port}: {error.strerror}", fix="use another --port"
        ) from error
    finally:
        await runner.cleanup()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        script = conversation.load(options.conversation)
        wanted = dict(behaviour.from_text(text) for text in options.behaviour)
        asyncio.run(
            _serve(
                application(script, key=options.key, behaviours=Behaviours(wanted)),
                options.port,
                options.host,
            )
        )
    except errors.VoicefleetError as error:
        sys.stderr.write(f"error: {error.problem}\nfix: {error.fix}\n")
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m voicefleet.lab.providers", description=__doc__)
    parser.add_argument("--host", default=HOST, help="an address of this machine")
    parser.add_argument("--port", type=int, default=0, help="0, the default: any that is free")
    parser.add_argument(
        "--conversation", default="assistant", help="a name that ships, or a path to a .toml file"
    )
    parser.add_argument("--key", help="the only key that is right; without it, any is")
    parser.add_argument(
        "--behaviour",
        action="append",
        default=[],
        metavar="PROVIDER:SETTING=VALUE,...",
        help="such as deepgram:latency_seconds=0.2 or openai-llm:fault=rate_limited,fault_limit=2",
    )
    return parser


async def _serve(app: web.Application, port: int, host: str) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with serving(app, port, host) as actual_port:
        sys.stdout.write(f"stand-ins listen on http://{host}:{actual_port}\n")
        sys.stdout.flush()
        await stopped.wait()


if __name__ == "__main__":
    sys.exit(main())
