"""Every row of the truth table of spec 03 for pods, observed at the real API server, in modes label, cr and both."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.e2e.admission.manifests import pod, runtime
from tests.e2e.admission.observed import bare, injected, receipt, verdicts
from tests.e2e.admission.rows import (
    AGENT,
    CONTRADICTION,
    HOST_NETWORK,
    MANDATORY,
    NOTHING,
    OFF,
    ONLY_TOOLS,
    WINDOWS,
    Observer,
    Row,
    cases,
)
from tests.e2e.api_client import ApiClient
from tests.e2e.delaying_proxy import DelayingProxy
from tests.e2e.installed import ROOT, Installed, Options
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received
ACCOUNT = {"serviceAccount": "default"}

ROWS = [
    Row("a label alone injects", "label both", "Label", "injected", label="enabled", trigger="Label"),
    Row("a label injects outside enrolment", "label both", "Label", "injected", label="enabled", enrolled=False),
    Row(
        "label and AgentRuntime: the label is the trigger",
        "label both",
        "Label",
        "injected",
        label="enabled",
        runtime=True,
    ),
    Row("in cr the AgentRuntime is the trigger", "cr", "AgentRuntime", "injected", label="enabled", runtime=True),
    Row("in cr a label alone does nothing", "cr", "LabelIgnored", "bare", label="enabled", warned="label"),
    Row("in cr a label under Mandatory", "cr", "Mandatory", "injected", label="enabled", layer=MANDATORY),
    Row(
        "a label under Mandatory stays a label",
        "label both",
        "Label",
        "injected",
        label="enabled",
        layer=MANDATORY,
        policy="Mandatory",
    ),
    Row("an AgentRuntime alone injects", "cr both", "AgentRuntime", "injected", runtime=True, trigger="AgentRuntime"),
    Row("nothing triggers nothing", "cr both", "NoTrigger", "bare"),
    Row("Mandatory needs no trigger", "cr both", "Mandatory", "injected", layer=MANDATORY, trigger="Mandatory"),
    Row("in label an AgentRuntime alone is not seen", "label", "", "bare", runtime=True),
    Row("outside enrolment nothing is called", "cr both", "", "bare", runtime=True, enrolled=False),
    Row("in cr a label outside enrolment is not seen", "cr", "", "bare", label="enabled", enrolled=False),
    Row("Mandatory outside enrolment is not enforced", "cr both", "", "bare", layer=MANDATORY, enrolled=False),
    Row("disabled opts out", "label cr both", "OptOut", "bare", label="disabled"),
    Row("disabled opts out of an AgentRuntime", "cr both", "OptOut", "bare", label="disabled", runtime=True),
    Row(
        "Mandatory admits no opt-out",
        "label cr both",
        "MandatoryInjection",
        "denied",
        label="disabled",
        layer=MANDATORY,
    ),
    Row("an odd value is refused", "label cr both", "InvalidLabel", "denied", label="true"),
    Row("an empty value is refused", "label cr both", "InvalidLabel", "denied", label=""),
    Row("switched off by a layer", "label both", "InjectionDisabled", "bare", label="enabled", layer=OFF),
    Row("switched off, by AgentRuntime", "cr both", "InjectionDisabled", "bare", runtime=True, layer=OFF),
    Row("Mandatory ignores switching off", "cr both", "Mandatory", "injected", layer={**OFF, **MANDATORY}),
    Row(
        "an excluded type is left alone",
        "label both",
        "TypeExcluded",
        "bare",
        label="enabled",
        layer=ONLY_TOOLS,
        labels=AGENT,
        warned="type",
    ),
    Row(
        "an excluded type under Mandatory is injected",
        "cr both",
        "Mandatory",
        "injected",
        layer={**ONLY_TOOLS, **MANDATORY},
        labels=AGENT,
        warned="type",
    ),
    Row("an absent type never blocks", "label both", "Label", "injected", label="enabled", layer=ONLY_TOOLS),
    Row(
        "nothing left to inject",
        "label both",
        "NothingToInject",
        "bare",
        label="enabled",
        layer=NOTHING,
        warned="nothing",
    ),
    Row("hostNetwork by label", "label both", "UnsupportedPod", "denied", label="enabled", spec=HOST_NETWORK),
    Row(
        "hostNetwork by AgentRuntime",
        "cr both",
        "UnsupportedPod",
        "bare",
        runtime=True,
        spec=HOST_NETWORK,
        warned="hostNetwork",
    ),
    Row("hostNetwork under Mandatory", "cr both", "UnsupportedPod", "denied", layer=MANDATORY, spec=HOST_NETWORK),
    Row("hostNetwork without trigger", "cr both", "NoTrigger", "bare", spec=HOST_NETWORK),
    Row("Windows by label", "label both", "UnsupportedPod", "denied", label="enabled", spec=WINDOWS),
    Row("an inconsistent result", "label both", "ConfigInvalid", "denied", label="enabled", layer=CONTRADICTION),
    Row(
        "an inconsistent result, by AgentRuntime",
        "cr both",
        "ConfigInvalid",
        "denied",
        runtime=True,
        layer=CONTRADICTION,
    ),
    Row(
        "nothing left under Mandatory",
        "label cr both",
        "MandatoryInjection",
        "denied",
        label="enabled",
        layer={**NOTHING, **MANDATORY},
    ),
    Row("an exempt account under Mandatory", "cr both", "Exempt", "bare", exempt=ACCOUNT, policy="Exempt"),
    Row(
        "an exempt account with a label is as under Optional",
        "label both",
        "OptOut",
        "bare",
        label="disabled",
        exempt=ACCOUNT,
        policy="Exempt",
    ),
    Row("somebody else's exemption", "cr both", "Mandatory", "injected", exempt={"serviceAccount": "other"}),
]


def shown(found: JSON) -> str:
    """Whether a pod is injected, bare, or neither."""
    return "injected" if injected(found) else "bare" if bare(found) else "half injected"


@pytest.mark.parametrize(("mode", "row"), cases(ROWS, pytest.param))
def test_row_of_the_truth_table(
    mode: str,
    row: Row,
    install: Callable[..., Installed],
    api: ApiClient,
    team: Callable[..., str],
    cluster: ControlPlane,
    cluster_config: Callable[[JSON], None],
) -> None:
    """The pod comes out as the row says, and the audit log names the row's reason code."""
    install(mode=mode)
    namespace = team(enrolled=row.enrolled)
    observer = Observer(api, cluster, cluster_config, "pods")
    observer.layers(row, namespace)
    if row.runtime:
        made = api.create(runtime(namespace, "weather", kind="Pod", target="weather"))
        assert made.ok, made.message
    if row.layer == ONLY_TOOLS and not row.labels:  # nothing is blocked, either, by a layer that is not there yet
        typed = pod(namespace, "weather", label=row.label, labels=dict(AGENT))
        observer.settle(replace(row, reason="TypeExcluded"), typed)
    answer = observer.created(row, pod(namespace, "weather", label=row.label, labels=dict(row.labels), **row.spec))
    observer.check(row, answer, f"{mode}: {row.why}", shown=shown)
    if row.trigger:
        assert receipt(answer.body)["trigger"] == row.trigger
    seen = observer.seen(namespace)[-1:]
    assert [verdict.reason for verdict in seen] == ([row.reason] if row.reason else [])
    assert row.policy in ("", *(verdict.policy for verdict in seen))


@pytest.fixture(scope="module")
def unreadable(cluster: ControlPlane, api: ApiClient) -> Iterator[str]:
    """An enrolled namespace whose config no version of ours can read, stored while its CRD checked nothing."""
    name = "unreadable"
    labels = {"kagenti.io/enrolled": "true"}
    assert api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}).ok
    crd = ROOT / "generated" / "crds" / "agentruntimeconfigs.kagenti.io.yaml"
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(crd))
    cluster.kubectl("delete", "validatingwebhookconfiguration", "--all", "--ignore-not-found")
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    patch = [{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": anything}]
    lax = (
        [*patch, {"op": "remove", "path": "/spec/versions/0/selectableFields"}]
        if b"selectableFields" in crd.read_bytes()
        else patch
    )
    cluster.kubectl("patch", "crd", crd.stem, "--type=json", "-p", orjson.dumps(lax).decode())
    broken = {
        "apiVersion": "kagenti.io/v1alpha1",
        "kind": "AgentRuntimeConfig",
        "metadata": {"name": "default", "namespace": name},
        "spec": {"trace": ["no object"]},
    }
    wait_until(lambda: api.create(broken).ok, 20, lambda: "the CRD still checks")
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(crd))
    yield name
    api.delete("AgentRuntimeConfig", name, "default")
    api.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.mark.parametrize(
    ("mode", "label"), [("label", "enabled"), ("cr", None), ("cr", "enabled"), ("both", None), ("both", "enabled")]
)
def test_a_layer_that_cannot_be_read_lets_nothing_through(
    mode: str,
    label: str | None,
    unreadable: str,
    install: Callable[..., Installed],
    api: ApiClient,
    cluster: ControlPlane,
) -> None:
    """A triggered pod is denied with the layer to mend; without a trigger too, for the policy might be Mandatory."""
    install(mode=mode)
    manifest = pod(unreadable, "weather", label=label)
    answer = api.create(manifest, dry_run=True)
    assert not answer.ok
    assert f"ConfigInvalid: Pod {unreadable}/weather: AgentRuntimeConfig {unreadable}/default" in answer.message
    assert verdicts(cluster, resource="pods", namespace=unreadable, name="weather")[-1].reason == "ConfigInvalid"


@pytest.fixture(params=["label", "cr", "both"])
def cut_off(request: pytest.FixtureRequest, cluster: ControlPlane, tmp_path: Path) -> Iterator[DelayingProxy]:
    """An installation whose webhook gets no answer to its strict reads."""
    proxy = DelayingProxy(cluster, hold_path="/apis/kagenti.io/v1alpha1/namespaces/")
    proxy.start()
    installation = Installed(cluster, Options(mode=request.param), folder=tmp_path, through=proxy.kubeconfig)
    try:
        installation.start()
        proxy.refuse()
        yield proxy
    finally:
        installation.stop()
        proxy.stop()


def test_without_an_answer_to_the_strict_read_a_pod_waits(
    cut_off: DelayingProxy, api: ApiClient, team: Callable[..., str], cluster: ControlPlane
) -> None:
    """NotReady and the advice to retry, never defaults; the pod is made once the API server answers."""
    namespace = team()
    manifest = pod(namespace, "weather", label="enabled")
    answer = api.create(manifest)
    assert not answer.ok
    assert answer.status == 503
    assert "NotReady: " in answer.message
    assert answer.message.endswith("; retry")
    assert verdicts(cluster, resource="pods", namespace=namespace, name="weather")[-1].reason == "NotReady"
    cut_off.release()
    wait_until(lambda: api.create(manifest).ok, 10, lambda: "still denied")
