"""An API server that knows what the chart looks up: a Deployment and the autoscalers beside it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NAMESPACE = "talk"

# The kinds that Helm wants to know of.
RESOURCES = {
    "v1": ["ConfigMap", "Pod", "ServiceAccount"],
    "apps/v1": ["Deployment"],
    "autoscaling/v2": ["HorizontalPodAutoscaler"],
    "networking.k8s.io/v1": ["NetworkPolicy"],
    "policy/v1": ["PodDisruptionBudget"],
    "keda.sh/v1alpha1": ["ScaledObject"],
}

PLURALS = {"NetworkPolicy": "networkpolicies"}


@contextmanager
def holding(deployment: dict[str, Any] | None, *autoscalers: dict[str, Any]) -> Iterator[str]:
    """The address of a cluster with these objects; it takes questions only."""
    answers = _discovery()
    if deployment is not None:
        name = deployment["metadata"]["name"]
        answers[f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}"] = deployment
    answers[f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers"] = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscalerList",
        "metadata": {},
        "items": list(autoscalers),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            found = answers.get(path)
            missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}
            body = json.dumps(found or {**missing, "reason": "NotFound"}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="api server")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _discovery() -> dict[str, Any]:
    groups = []
    answers: dict[str, Any] = {
        "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
    }
    for version, kinds in RESOURCES.items():
        group, _, name = version.rpartition("/")
        preferred = {"groupVersion": version, "version": name}
        if group:
            groups.append({"name": group, "versions": [preferred], "preferredVersion": preferred})
        answers[f"/apis/{version}" if group else "/api/v1"] = {
            "kind": "APIResourceList",
            "groupVersion": version,
            "resources": [_resource(kind) for kind in kinds],
        }
    answers["/apis"] = {"kind": "APIGroupList", "groups": groups}
    return answers


def _resource(kind: str) -> dict[str, Any]:
    plural = PLURALS.get(kind, f"{kind.lower()}s")
    return {"name": plural, "kind": kind, "namespaced": True, "verbs": ["get", "list"]}
