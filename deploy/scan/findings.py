"""What each scanner found, in one shape. Each reads its tool's own JSON."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """`on` is Kind/name, or the file."""

    tool: str
    check: str
    on: str
    says: str


def of_trivy(text: str) -> Iterator[Finding]:
    for result in json.loads(text).get("Results", []):
        for found in result.get("Misconfigurations") or []:
            said = str(found["Message"])
            yield Finding("trivy", found["ID"], _object_in(said) or f"/{result['Target']}", said)


def of_checkov(text: str) -> Iterator[Finding]:
    reports: Any = json.loads(text)
    for report in reports if isinstance(reports, list) else [reports]:
        for found in report["results"]["failed_checks"]:
            kind, _, rest = str(found["resource"]).partition(".")
            on = kind if kind.startswith("/") else f"{kind}/{rest.rpartition('.')[2]}"
            yield Finding("checkov", found["check_id"], on, found["check_name"])


def of_kube_score(text: str) -> Iterator[Finding]:
    for scored in json.loads(text) or []:
        on = f"{scored['type_meta']['kind']}/{scored['object_meta']['name']}"
        for check in scored["checks"]:
            # 10 is "all ok"; less is a warning or critical.
            if check["grade"] < 10 and not check.get("skipped"):
                comments = [comment["summary"] for comment in check["comments"] or []]
                yield Finding("kube-score", check["check"]["id"], on, "; ".join(comments))


def _object_in(message: str) -> str:
    """Trivy names the object in a sentence: "Container 'x' of Deployment 'voices' should …"."""
    words = message.replace("'", "").replace('"', "").split()
    kinds = {"deployment", "pod", "configmap", "networkpolicy", "serviceaccount", "secret"}
    for kind, name in pairwise(words):
        if kind.lower() in kinds:
            proper = {"configmap": "ConfigMap", "networkpolicy": "NetworkPolicy"}
            return f"{proper.get(kind.lower(), kind.title())}/{name}"
    return ""
