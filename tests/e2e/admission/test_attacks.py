"""Spec 01 on authority, locks, Mandatory and exemptions, each rule tried as an attack by a tenant.

An attack is seen to have force before the rule stands, so that "no effect" afterwards is the rule's doing. What the
validating webhook would refuse is stored before there is anything to refuse: the merge must hold by itself.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.admission.effects import admitted, container, denied, env, eventually, sampled, stored
from tests.e2e.admission.manifests import config, pod, runtime, workload
from tests.e2e.admission.observed import bare, injected
from tests.e2e.api_client import Answer, ApiClient
from tests.e2e.installed import Installed
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received
Install = Callable[..., Installed]
Team = Callable[..., str]
ClusterConfig = Callable[[JSON], None]

EVIL_IMAGE = {"components": {"envoyProxy": {"image": "evil/envoy:1"}}}
OFF = {"injection": {"enabled": False}, "identity": {"inbound": {"enabled": False}}}


def _rate(rate: float) -> JSON:
    return {"trace": {"sampling": {"rate": rate}}}


def _weather(namespace: str, **spec: JSON) -> JSON:
    return runtime(namespace, "weather", kind="Pod", target="weather", **spec)


def _image(answer: Answer) -> str:
    return str((container(answer, "envoy-proxy") or {}).get("image"))


def _mandatory(*names: str, **more: JSON) -> JSON:
    return {"policy": {"namespaces": [{"names": list(names), "injection": "Mandatory", **more}]}}


def _injected(answer: Answer) -> bool:
    return answer.ok and injected(answer.body)


def test_a_tenant_cannot_choose_the_image_of_our_sidecar(
    install: Install, api: ApiClient, team: Team, cluster_config: ClusterConfig
) -> None:
    """components.*.image is the cluster's: delegated it counts; taken back, the stored values count no more."""
    install(mode="both")
    namespace = team()
    cluster_config({"policy": {"delegated": ["components"]}})
    stored(api, _weather(namespace, **EVIL_IMAGE))
    stored(api, config(namespace, components={"envoyProxy": {"image": "evil/envoy:2"}}))
    weather, other = pod(namespace, "weather"), pod(namespace, "other", label="enabled")
    eventually(api, weather, lambda found: _image(found) == "evil/envoy:1", "delegation has no effect")
    eventually(api, other, lambda found: _image(found) == "evil/envoy:2", "delegation has no effect")
    cluster_config({})
    for manifest in (weather, other):
        eventually(api, manifest, lambda found: _injected(found) and "evil" not in _image(found), "still in effect")


@pytest.mark.parametrize("layer", ["namespace", "workload"])
def test_a_setting_of_the_clusters_is_refused(layer: str, install: Install, api: ApiClient, team: Team) -> None:
    """At admission, naming the field and the way to open it."""
    install(mode="both")
    namespace = team()
    made = config(namespace, **EVIL_IMAGE) if layer == "namespace" else _weather(namespace, **EVIL_IMAGE)
    refused = api.create(made)
    assert not refused.ok
    assert "components.envoyProxy.image" in refused.message
    assert "policy.delegated" in refused.message


def test_a_lock_of_the_namespace_binds_the_workload(install: Install, api: ApiClient, team: Team) -> None:
    """A locked path cannot be set by an AgentRuntime: denied, naming the object that locks."""
    install(mode="both")
    namespace = team()
    stored(api, config(namespace, policy={"locked": ["trace.sampling"]}, **_rate(0.25)))

    def refused() -> bool:
        answer = api.create(_weather(namespace, **_rate(1.0)))
        if answer.ok:  # the webhook has not seen the lock yet
            api.delete("AgentRuntime", namespace, "weather")
            return False
        return "trace.sampling" in answer.message and f"AgentRuntimeConfig {namespace}/default" in answer.message

    wait_until(refused, 10, lambda: "the lock is not enforced at admission")


def test_a_lock_of_the_namespace_overrules_what_is_stored(install: Install, api: ApiClient, team: Team) -> None:
    """An AgentRuntime from before the lock keeps existing; its value is ignored in the merge."""
    install(mode="both")
    namespace = team()
    stored(api, _weather(namespace, **_rate(1.0)))
    eventually(api, pod(namespace, "weather"), lambda found: sampled(found) == "1", "the value has no effect")
    stored(api, config(namespace, policy={"locked": ["trace.sampling"]}, **_rate(0.25)))
    eventually(api, pod(namespace, "weather"), lambda found: sampled(found) == "0.25", "the lock has no effect")


def test_a_lock_of_the_cluster_overrules_a_namespaces_config(
    install: Install, api: ApiClient, team: Team, cluster_config: ClusterConfig
) -> None:
    """What is stored loses its effect, and a change that sets another locked path is denied."""
    install(mode="both")
    namespace = team()
    stored(api, config(namespace, **_rate(1.0)))
    manifest = pod(namespace, "weather", label="enabled")
    eventually(api, manifest, lambda found: sampled(found) == "1", "the value has no effect")
    cluster_config({"policy": {"locked": ["trace"]}, **_rate(0.25)})
    eventually(api, manifest, lambda found: sampled(found) == "0.25", "the lock has no effect")
    changed = api.merge("AgentRuntimeConfig", namespace, "default", {"spec": {"trace": {"genai": {"enabled": True}}}})
    assert not changed.ok
    assert "trace.genai.enabled" in changed.message
    assert "AgentRuntimeClusterConfig default" in changed.message


def test_a_lock_binds_the_pods_own_annotations_and_labels(
    install: Install, api: ApiClient, team: Team, cluster_config: ClusterConfig
) -> None:
    """Without Mandatory: an excluded port and a component opted out, until the same settings are locked."""
    install(mode="both")
    manifest = pod(team(), "weather", label="enabled", labels={"kagenti.io/client-registration-inject": "false"})
    manifest["metadata"]["annotations"] = {"kagenti.io/inbound-ports-exclude": "8081"}

    def escaped(answer: Answer) -> tuple[bool, bool]:
        ports = str(env(answer, "proxy-init", "INBOUND_PORTS_EXCLUDE") or "")
        return "8081" in ports.split(","), container(answer, "kagenti-client-registration") is None

    eventually(api, manifest, lambda found: found.ok and escaped(found) == (True, True), "the pod has no say")
    cluster_config({"policy": {"locked": ["identity.inbound.excludePorts", "components.clientRegistration.enabled"]}})
    eventually(api, manifest, lambda found: found.ok and escaped(found) == (False, False), "the locks have no effect")


def test_mandatory_cannot_be_escaped_by_labels_annotations_or_an_agentruntime(
    install: Install, api: ApiClient, team: Team
) -> None:
    """Opt-out label, component labels, port exclusions and an AgentRuntime that switches off: all ineffective."""
    install(mode="both")
    namespace = team()
    labels = {"kagenti.io/envoy-proxy-inject": "false", "kagenti.io/spiffe-helper-inject": "false"}
    manifest = pod(namespace, "weather", labels=labels)
    manifest["metadata"]["annotations"] = {"kagenti.io/inbound-ports-exclude": "8081"}
    stored(api, _weather(namespace, **OFF))
    eventually(api, manifest, lambda found: found.ok and bare(found.body), "the pod does not escape")
    stored(api, config(namespace, policy={"injection": "Mandatory"}))
    answer = eventually(api, manifest, _injected, "the pod escapes")
    assert "8081" not in str(env(answer, "proxy-init", "INBOUND_PORTS_EXCLUDE") or "").split(",")
    assert env(answer, "proxy-init", "INTERCEPT_INBOUND") == "true"
    denied(api, pod(namespace, "weather", label="disabled"), "Mandatory")


def test_a_namespace_cannot_relax_the_clusters_mandatory(
    install: Install, api: ApiClient, team: Team, cluster_config: ClusterConfig
) -> None:
    """The stricter of the two layers wins, and Mandatory locks what would undo it."""
    install(mode="both")
    namespace = team()
    stored(api, config(namespace, policy={"injection": "Optional"}, **OFF))
    eventually(api, pod(namespace, "weather"), lambda found: found.ok and bare(found.body), "not bare")
    cluster_config(_mandatory(namespace))
    answer = eventually(api, pod(namespace, "weather"), _injected, "the namespace relaxes")
    assert env(answer, "proxy-init", "INTERCEPT_INBOUND") == "true"


def _account(api: ApiClient, namespace: str, name: str) -> None:
    made = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    assert api.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", made).ok


def test_only_the_cluster_exempts_and_never_by_a_label(
    install: Install, api: ApiClient, team: Team, cluster_config: ClusterConfig
) -> None:
    """An exemption names a top owner or a service account in the cluster layer; others stay injected."""
    install(mode="both")
    namespace = team()
    _account(api, namespace, "batch")
    cluster_config(_mandatory(namespace, exempt=[{"serviceAccount": "batch"}]))
    eventually(api, pod(namespace, "probe"), _injected, "not in force")
    assert bare(admitted(api, pod(namespace, "weather", serviceAccountName="batch")).body)
    assert injected(admitted(api, pod(namespace, "weather", labels={"kagenti.io/exempt": "true"})).body)


def test_a_namespace_cannot_exempt(install: Install, api: ApiClient, team: Team) -> None:
    """Written into the namespace's own config, an exemption is no field and means nothing."""
    install(mode="both")
    namespace = team()
    _account(api, namespace, "batch")
    exempt = [{"names": [namespace], "exempt": [{"serviceAccount": "batch"}]}]
    stored(api, config(namespace, policy={"injection": "Mandatory", "namespaces": exempt}))
    eventually(api, pod(namespace, "probe"), _injected, "not in force")
    assert injected(admitted(api, pod(namespace, "weather", serviceAccountName="batch")).body)


def test_an_exempt_owners_pods_are_bare_and_a_forged_owner_is_none(
    install: Install, api: ApiClient, team: Team, cluster_config: ClusterConfig
) -> None:
    """The exemption of a Deployment is for pods that it really owns, and for no Deployment of another name."""
    install(mode="both")
    namespace = team()
    exempt = [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "legacy"}]
    cluster_config(_mandatory(namespace, exempt=exempt))
    eventually(api, pod(namespace, "probe"), _injected, "not in force")
    for name in ("legacy", "weather"):
        assert api.create(workload("Deployment", namespace, name)).ok

    def pods(name: str) -> list[JSON]:
        return api.items("Pod", namespace, labelSelector=f"app={name}")

    wait_until(lambda: pods("legacy") and pods("weather"), 20, lambda: "no pods of the Deployments")
    assert all(bare(found) for found in pods("legacy"))
    assert all(injected(found) for found in pods("weather"))
    thief = pod(namespace, "thief")
    owner = pods("legacy")[0]["metadata"]["ownerReferences"][0]
    thief["metadata"]["ownerReferences"] = [{**owner, "uid": "0-0-0"}]
    answer = api.create(thief, dry_run=True)
    assert not answer.ok or injected(answer.body)


def test_two_runtimes_for_one_target_are_refused(install: Install, api: ApiClient, team: Team) -> None:
    """The second AgentRuntime for one target is denied, naming the first."""
    install(mode="both")
    namespace = team()
    stored(api, runtime(namespace, "first", kind="Pod", target="weather"))

    def refused() -> bool:
        answer = api.create(runtime(namespace, "second", kind="Pod", target="weather"))
        if answer.ok:  # the webhook has not seen the first yet
            api.delete("AgentRuntime", namespace, "second")
        return not answer.ok and "first" in answer.message

    wait_until(refused, 10, lambda: "a second AgentRuntime is admitted")


def test_a_claimed_owner_that_does_not_hold_gives_no_identity_of_it(
    install: Install, api: ApiClient, team: Team
) -> None:
    """A pod that names a ReplicaSet with a made-up UID is a standalone pod: that ReplicaSet's AgentRuntime is not its."""
    install(mode="both")
    namespace = team()
    stored(api, runtime(namespace, "weather", kind="Deployment", target="weather"))
    manifest = pod(namespace, "thief")
    manifest["metadata"]["ownerReferences"] = [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "weather-abc", "uid": "0-0-0", "controller": True}
    ]
    answer = api.create(manifest, dry_run=True)
    assert answer.ok, answer.message
    assert bare(answer.body)


def test_mandatory_by_selector_reads_any_label_of_the_namespace(
    install: Install, api: ApiClient, team: Team, cluster_config: ClusterConfig
) -> None:
    """A selector over a label of somebody else's prefix selects: such a policy must not fail open."""
    install(mode="both")
    namespace = team(labels={"example.com/tier": "agents"})
    selector = {"matchExpressions": [{"key": "example.com/tier", "operator": "In", "values": ["agents"]}]}
    cluster_config({"policy": {"namespaces": [{"selector": selector, "injection": "Mandatory"}]}})
    eventually(api, pod(namespace, "probe"), _injected, "not in force")
    assert bare(admitted(api, pod(team(), "probe")).body)
