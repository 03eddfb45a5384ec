"""What `demo --trace` shows of its call: the trace as it was exported, the metrics as scraped."""

import json

import aiohttp

from worker import errors
from worker.lab import trace_tree
from worker.lab.otlp_receiver import OtlpReceiver
from worker.lab.stack import Stack

# The pod ends its own span when the call's process has ended, and sends every few seconds.
TRACE_WITHIN_SECONDS = 20.0


async def of(receiver: OtlpReceiver, up: Stack) -> str:
    """The trace of the one call that there was, and what the pod has counted.

    :raises ToolError: if the pod's span of it does not come.
    """
    try:
        root = await receiver.wait_for(lambda span: span.name == "call", TRACE_WITHIN_SECONDS)
    except TimeoutError:
        raise errors.ToolError(
            f"no trace of the call came within {TRACE_WITHIN_SECONDS:g} s",
            fix=f"see the worker's log in {up.folder}",
        ) from None
    spans = receiver.trace(root.trace_id)
    title = f"the trace {root.trace_id}: start, length, what ({len(spans)} spans)"
    counted = await _metrics(endpoints_url(up))
    return f"\n{title}\n{trace_tree.tree(spans)}\n\nthe metrics of the pod\n{counted}"


def endpoints_url(up: Stack) -> str:
    """Where the worker's endpoints listen, as its log says."""
    lines = (up.folder / "worker.log").read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if '"endpoints listen"' in line)
    return f"http://127.0.0.1:{json.loads(line)['port']}"


async def _metrics(url: str) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/metrics") as response,
    ):
        text = await response.text()
    lines = [line for line in text.splitlines() if line.startswith("voicefleet_")]
    shown = [line for line in lines if "_bucket{" not in line and not line.endswith(" 0.0")]
    return "\n".join(f"  {line}" for line in shown)
