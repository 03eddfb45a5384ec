"""The API server itself takes every example: schema, defaults, admission and PodSecurity."""

import json
from pathlib import Path

import pytest
import yaml

from tests.cluster.kubernetes import CHART, EXAMPLES, Cluster, Object, run

# Whose operators a cluster may lack; their schemas are held against the chart elsewhere.
OPERATORS = ("external-secrets.io", "keda.sh", "monitoring.coreos.com")


pytestmark = pytest.mark.quick


@pytest.fixture(scope="session")
def resources() -> set[tuple[str, str]]:
    """API version and kind of all that the cluster knows."""
    lines = run("kubectl", "api-resources", "--no-headers").checked().splitlines()
    return {(words[-3], words[-1]) for words in map(str.split, lines)}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_cluster_takes_every_example(
    cluster: Cluster,
    resources: set[tuple[str, str]],
    example: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # By the client: the server's dry run of Helm stops at the first kind that it does not know.
    version = json.loads(cluster.kubectl("version", "--output", "json").checked())
    rendered = cluster.helm(
        *("template", "voices", CHART, "--values", str(example)),
        *("--kube-version", version["serverVersion"]["gitVersion"]),
    ).checked()
    found = [o for o in yaml.safe_load_all(rendered) if o]
    known = [o for o in found if (o["apiVersion"], o["kind"]) in resources]
    unknown = [o for o in found if o not in known]
    assert all(o["apiVersion"].partition("/")[0] in OPERATORS for o in unknown)
    assert {"Deployment", "NetworkPolicy", "ConfigMap"} <= {o["kind"] for o in known}
    if unknown:
        with capsys.disabled():
            print(f"\nnot in this cluster: {sorted(o['kind'] for o in unknown)}")  # noqa: T201

    # What a pod names must be there, and a dry run makes nothing.
    accounts = [o for o in known if o["kind"] == "ServiceAccount"]
    made, everything = _list(accounts), _list(known)
    cluster.kubectl("apply", "--server-side", "-f", "-", given=made).checked()
    try:
        told = cluster.kubectl(
            *("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"),
            given=everything,
        )
    finally:
        cluster.kubectl("delete", "-f", "-", given=made).checked()
    told.checked()
    # PodSecurity enforces at pods alone; of a Deployment's template it warns.
    assert "Warning" not in told.err
    assert len(told.out.splitlines()) == len(known)


def _list(items: list[Object]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
