"""A runbook as it is written: its headings, and under each the blocks to paste."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.ops import rule_files

HEADINGS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]

# What ops/README.md has a person set first.
VARIABLES = {
    "NAMESPACE": "talk",
    "FLEET": "voices",
    "PODS": "app.kubernetes.io/instance=voices,app.kubernetes.io/component=worker",
    "DEPLOYMENT": "deployment.apps/voices-voicefleet",
    "POD": "voices-voicefleet-6d4cf56db6-abcde",
    "NODE": "node-1",
    "LIVEKIT_NAMESPACE": "livekit",
    "LIVEKIT_DEPLOYMENT": "deployment/livekit-server",
    "POD_URL": "http://127.0.0.1:8081",
}


@dataclass(frozen=True, slots=True)
class Block:
    """Something to paste: `language` is promql or sh."""

    language: str
    text: str


def blocks(text: str) -> list[Block]:
    return [Block(m[1], m[2]) for m in re.finditer(r"```(\w+)\n(.*?)```", text, re.S)]


def sections(path: Path) -> dict[str, str]:
    """The text under each heading of the second level, in order."""
    parts = re.split(r"^## (.+)\n", path.read_text(), flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def of(alert: str) -> dict[str, str]:
    """The sections of an alert's runbook, found as its annotation says."""
    (where,) = {
        rule["annotations"]["runbook_url"]
        for rule in rule_files.rules(rule_files.ALERTS)
        if rule["alert"] == alert
    }
    return sections(rule_files.ROOT / where)


def filled(text: str, variables: dict[str, str]) -> str:
    """A query with its $WORDS replaced, as a person does before pasting it."""
    return re.sub(r"\$([A-Z_]+)", lambda m: variables[m[1]], text)
