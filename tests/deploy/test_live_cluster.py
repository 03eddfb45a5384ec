"""What the chart sees of a cluster that has the fleet already, and what it refuses for it."""

from typing import Any

import pytest

from deploy.generate import helm
from tests.deploy import api_server
from tests.deploy.rendering import Chart, Object, Values, at, objects

NAME = "voices-voicefleet"
HPA: Values = {"scale": {"by": "hpa"}}


def deployment(*holders: str, pods: int = 6) -> Object:
    """A live Deployment whose number of pods these field managers hold."""
    fields: Object = {"f:spec": {"f:replicas": {}}}
    managed = [{"manager": holder, "operation": "Apply", "fieldsV1": fields} for holder in holders]
    beside = {"manager": "kube-controller-manager", "fieldsV1": {"f:status": {}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": NAME,
            "namespace": "talk",
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {
                "meta.helm.sh/release-name": "voices",
                "meta.helm.sh/release-namespace": "talk",
            },
            "managedFields": [*managed, beside],
        },
        "spec": {"replicas": pods},
    }


def autoscaler(name: str, target: str = NAME, release: str | None = None) -> Object:
    notes = {"meta.helm.sh/release-name": release} if release else {}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": "talk", "annotations": notes},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": target}},
    }


def upgraded(
    chart: Chart, values: Values, live: Object | None, *autoscalers: Object
) -> helm.Rendered:
    with api_server.holding(live, *autoscalers) as address:
        file = chart.values_file(values)
        return helm.template(
            *(chart.binary, "--values", str(file), "--dry-run=server"),
            *("--kube-apiserver", address, "--disable-openapi-validation"),
        )


@pytest.mark.parametrize("holder", ["helm", "helm helm"])
def test_an_autoscaler_that_would_begin_with_one_pod_is_refused(chart: Chart, holder: str) -> None:
    """The chart stops naming a number, nobody else holds it, and the API server takes its default:
    1. Five of six pods would drain at once, until the autoscaler has caught up (helm#7090).
    """
    told = upgraded(chart, HPA, deployment(*holder.split()))
    assert not told.is_ok
    assert "the fleet's 6 pods are fixed by Helm" in told.err
    assert "kubectl -n talk apply --server-side --field-manager=autoscaler" in told.err
    assert f'"metadata":{{"name":"{NAME}"}},"spec":{{"replicas":6}}' in told.err


@pytest.mark.parametrize(
    "live",
    [
        deployment("helm", "autoscaler"),
        deployment("kubectl"),
        deployment(),
        deployment("helm", pods=1),
    ],
    ids=["handed over", "scaled by hand", "scaled already", "one pod"],
)
def test_an_autoscaler_takes_over_a_number_that_somebody_holds(chart: Chart, live: Object) -> None:
    rendered = upgraded(chart, HPA, live)
    assert rendered.is_ok, rendered.err
    assert at(objects(rendered.out), "Deployment/spec/replicas") is None


@pytest.mark.parametrize("live", [deployment("helm"), deployment("kubectl", pods=2)])
def test_a_fixed_number_may_stay_or_be_lowered_by_its_owner(chart: Chart, live: Object) -> None:
    assert upgraded(chart, {}, live).is_ok


def test_a_fleet_that_was_scaled_by_another_is_not_cut_down_in_passing(chart: Chart) -> None:
    """Back from an autoscaler to a fixed number, in a peak: 18 pods would drain at once, and the
    next callers find no slot.
    """
    told = upgraded(chart, {}, deployment("helm", "kube-controller-manager", pods=20))
    assert not told.is_ok
    assert "the fleet has 20 pods, set by kube-controller-manager" in told.err
    assert "--set scale.min=20" in told.err


@pytest.mark.parametrize(
    "values",
    [{}, HPA, {"scale": {"by": "keda", "keda": {"prometheusAddress": "http://p"}}}],
    ids=["none", "hpa", "keda"],
)
def test_an_autoscaler_of_someone_else_is_refused(chart: Chart, values: Values) -> None:
    told = upgraded(chart, values, None, autoscaler("mine"))
    assert not told.is_ok
    assert "the HorizontalPodAutoscaler mine scales this fleet already" in told.err
    assert "kubectl delete hpa mine" in told.err


@pytest.mark.parametrize(
    "known",
    [
        autoscaler(NAME, release="voices"),
        autoscaler(f"keda-hpa-{NAME}"),
        autoscaler("other", target="other"),
    ],
    ids=["the chart's own", "KEDA's for the chart's", "another fleet's"],
)
@pytest.mark.parametrize("by", ["hpa", "keda"])
def test_autoscalers_that_belong_here_are_no_obstacle(chart: Chart, known: Any, by: str) -> None:
    values = {"scale": {"by": by, "keda": {"prometheusAddress": "http://p"}}}
    rendered = upgraded(chart, values, None, known)
    assert rendered.is_ok, rendered.err
