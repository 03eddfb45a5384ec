"""What the lab reads in a worker's log."""

import json
from pathlib import Path

from voicefleet.lab import worker_log

TRACEBACK = """unhandled exception while running the job task
Traceback (most recent call last):
  File "/site-packages/livekit/agents/ipc/job_proc_lazy_main.py", line 353, in _entrypoint
  File "/home/me/shop/agent.py", line 12, in entrypoint
    session = AgentSesion()
NameError: name 'AgentSesion' is not defined"""


def test_the_error_of_an_agent_file_is_told_with_its_line(tmp_path: Path) -> None:
    said = [
        {"message": "endpoints listen", "port": 81},
        {"message": TRACEBACK},
        {"message": "call over", "outcome": "failed"},
        {"message": "call over", "outcome": "completed"},
    ]
    log = tmp_path / "worker.log"
    log.write_text("\n".join(["no JSON", *map(json.dumps, said), '{"message": "half wr']))
    for agent in ("/home/me/shop/agent.py", "shop.agent"):
        told = worker_log.raised_by(agent, log)
        assert told == "NameError: name 'AgentSesion' is not defined (line 12)"
    assert worker_log.raised_by("/home/me/shop/other.py", log) == ""
    assert worker_log.port(log) == 81
    assert worker_log.failed_calls(log) == 1
