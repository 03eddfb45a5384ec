"""The scan's own parts: what it reads of each tool, and that nothing is waived without a reason."""

import json

import yaml

from deploy.scan import __main__ as scan
from deploy.scan import findings
from deploy.scan.findings import Finding


def test_every_waiver_has_its_own_reason_and_covers_no_other_tool() -> None:
    waivers = yaml.safe_load(scan.WAIVERS.read_text())
    assert all(len(waiver["because"]) > 10 for waiver in waivers)
    names = [(waiver["tool"], waiver["check"]) for waiver in waivers]
    assert len(set(names)) == len(names)
    waiver = scan.Waiver("trivy", "KSV-1", "Pod/", "x")
    assert waiver.covers(Finding("trivy", "KSV-1", "Pod/a", ""))
    assert not waiver.covers(Finding("trivy", "KSV-1", "Deployment/a", ""))
    assert not waiver.covers(Finding("checkov", "KSV-1", "Pod/a", ""))


def test_each_tools_words_become_a_finding() -> None:
    said = "Container 'worker' of Deployment 'voices' should set 'resources.limits.cpu'"
    trivy = {"Results": [{"Target": "a.yaml", "Misconfigurations": [{"ID": "K", "Message": said}]}]}
    assert list(findings.of_trivy(json.dumps(trivy))) == [
        Finding("trivy", "K", "Deployment/voices", said)
    ]
    failed = {"check_id": "C", "check_name": "n", "resource": "Pod.talk.voices-call"}
    checkov = {"results": {"failed_checks": [failed]}}
    assert list(findings.of_checkov(json.dumps(checkov))) == [
        Finding("checkov", "C", "Pod/voices-call", "n")
    ]
    checks = [
        {"check": {"id": "bad"}, "grade": 1, "comments": [{"summary": "s"}]},
        {"check": {"id": "good"}, "grade": 10, "comments": None},
        {"check": {"id": "left out"}, "grade": 1, "skipped": True, "comments": []},
    ]
    scored = {"type_meta": {"kind": "Pod"}, "object_meta": {"name": "p"}, "checks": checks}
    assert list(findings.of_kube_score(json.dumps([scored]))) == [
        Finding("kube-score", "bad", "Pod/p", "s")
    ]
