"""The stand-ins as a process of their own."""

import asyncio
import re
import signal
import sys

import aiohttp
import pytest

from voicefleet import errors
from voicefleet.errors import ExitCode
from voicefleet.lab import providers
from voicefleet.lab.conversation import Conversation, Exchange


async def test_the_process_says_where_it_listens_and_ends_cleanly_on_sigterm() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "voicefleet.lab.providers", "--behaviour", "cartesia:fault=cut"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert found
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{found[0]}/lab/behaviour/cartesia") as response,
    ):
        assert (await response.json())["fault"] == "cut"
    process.send_signal(signal.SIGTERM)
    output, complaints = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, output, complaints) == (0, b"", b"")


@pytest.mark.parametrize(
    "arguments", [["--conversation", "nowhere"], ["--behaviour", "alexa:fault=cut"]]
)
def test_what_cannot_be_is_said_in_one_line_each(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert providers.main(arguments) == ExitCode.USAGE
    problem, fix = capsys.readouterr().err.splitlines()
    assert problem.startswith("error: ")
    assert fix.startswith("fix: ")


async def test_a_port_that_is_taken_is_an_error_that_names_it() -> None:
    call = Conversation("test", "Hello.", (Exchange("Goodbye.", "Goodbye."),))
    async with providers.serving(providers.application(call)) as port:
        with pytest.raises(errors.PortError, match=str(port)):
            async with providers.serving(providers.application(call), port):
                pass


def test_a_call_that_cannot_be_heard_is_refused_before_it_is_served() -> None:
    call = Conversation("test", "Hello.", (Exchange("I am Xylqzat.", "Hello."),))
    with pytest.raises(errors.UsageError, match="xylqzat"):
        providers.application(call)
