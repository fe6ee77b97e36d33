"""Spec 01 on authority, locks, Mandatory, exemptions and credentials, each rule tried as an attack by a tenant."""

from collections.abc import Callable
from typing import Any

from tests.e2e.admission.manifests import config, pod, runtime
from tests.e2e.admission.observed import bare, injected
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received


def _image(answer: Any, name: str) -> str:
    return str(next(found["image"] for found in answer.body["spec"]["initContainers"] if found["name"] == name))


def test_a_tenant_cannot_choose_the_image_of_our_sidecar(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """components.*.image is the cluster's: an AgentRuntime that sets it is refused, and it would have no effect."""
    install(mode="both")
    namespace = team()
    settings = {"components": {"envoyProxy": {"image": "evil/envoy:1"}}}
    refused = api.create(runtime(namespace, "weather", kind="Pod", target="weather", **settings))
    assert not refused.ok
    assert "components.envoyProxy.image" in refused.message
    written = api.create(config(namespace, **settings))
    assert not written.ok
    assert "evil" not in _image(api.create(pod(namespace, "weather", label="enabled"), dry_run=True), "envoy-proxy")


def test_a_lock_of_the_namespace_binds_the_workload(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """A locked path cannot be set by an AgentRuntime: denied, naming the object that locks."""
    install(mode="both")
    namespace = team()
    assert api.create(config(namespace, policy={"locked": ["trace.sampling"]}, trace={"sampling": {"rate": 0.25}})).ok

    def refused() -> bool:
        answer = api.create(
            runtime(namespace, "weather", kind="Pod", target="weather", trace={"sampling": {"rate": 1.0}})
        )
        if answer.ok:
            api.delete("AgentRuntime", namespace, "weather")
            return False
        assert "trace.sampling" in answer.message
        return f"AgentRuntimeConfig {namespace}/default" in answer.message

    wait_until(refused, 10, lambda: "the lock is not enforced at admission")


def test_a_lock_that_comes_later_makes_the_value_ineffective(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """An AgentRuntime from before the lock keeps existing; its value is ignored in the merge."""
    install(mode="both")
    namespace = team()
    assert api.create(runtime(namespace, "weather", kind="Pod", target="weather", trace={"sampling": {"rate": 1.0}})).ok
    assert api.create(config(namespace, policy={"locked": ["trace.sampling"]}, trace={"sampling": {"rate": 0.25}})).ok

    def sampled() -> bool:
        answer = api.create(pod(namespace, "weather"), dry_run=True)
        found = {entry["name"]: entry.get("value") for entry in answer.body["spec"]["containers"][0].get("env") or ()}
        return found.get("OTEL_TRACES_SAMPLER_ARG") == "0.25"

    wait_until(sampled, 10, lambda: "the lock has no effect")


def test_mandatory_cannot_be_escaped_by_labels_annotations_or_an_agentruntime(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """Opt-out label, component labels, port exclusions and an AgentRuntime that switches off: all ineffective."""
    install(mode="both")
    namespace = team()
    assert api.create(config(namespace, policy={"injection": "Mandatory"})).ok
    wait_until(lambda: injected(api.create(pod(namespace, "probe"), dry_run=True).body), 10, lambda: "not in force")
    assert not api.create(pod(namespace, "weather", label="disabled"), dry_run=True).ok
    off = {"injection": {"enabled": False}, "identity": {"inbound": {"enabled": False}}}
    api.create(runtime(namespace, "weather", kind="Pod", target="weather", **off))
    labels = {"kagenti.io/envoy-proxy-inject": "false", "kagenti.io/spiffe-helper-inject": "false"}
    manifest = pod(namespace, "weather", labels=labels)
    manifest["metadata"]["annotations"] = {"kagenti.io/inbound-ports-exclude": "8081"}
    answer = api.create(manifest, dry_run=True)
    assert answer.ok, answer.message
    assert injected(answer.body)
    init = next(found for found in answer.body["spec"]["initContainers"] if found["name"] == "proxy-init")
    assert all("8081" not in (entry.get("value") or "") for entry in init["env"] if "EXCLUDE" in entry["name"])


def test_only_the_cluster_exempts_and_never_by_a_label(
    install: Callable[..., Installed],
    api: ApiClient,
    team: Callable[..., str],
    cluster_config: Callable[[JSON], None],
) -> None:
    """An exemption names a top owner or a service account in the cluster layer; others stay injected."""
    install(mode="both")
    namespace = team()
    exempt = [{"serviceAccount": "batch"}]
    api.request(
        "POST",
        f"/api/v1/namespaces/{namespace}/serviceaccounts",
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "batch"}},
    )
    cluster_config({"policy": {"namespaces": [{"names": [namespace], "injection": "Mandatory", "exempt": exempt}]}})
    wait_until(lambda: injected(api.create(pod(namespace, "probe"), dry_run=True).body), 10, lambda: "not in force")
    answer = api.create(pod(namespace, "weather", serviceAccountName="batch"), dry_run=True)
    assert answer.ok, answer.message
    assert bare(answer.body)
    assert injected(api.create(pod(namespace, "weather", labels={"kagenti.io/exempt": "true"}), dry_run=True).body)


def test_a_credential_of_a_higher_layer_is_never_sent_elsewhere(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """An AgentRuntime that redirects keycloak.url without credentials of its own makes the pod be denied."""
    install(mode="both")
    namespace = team()
    keycloak = {"identity": {"clientRegistration": {"keycloak": {"url": "http://evil.example:8080"}}}}
    assert api.create(config(namespace, identity={"clientRegistration": {"keycloak": {"realm": "team"}}})).ok
    api.create(runtime(namespace, "weather", kind="Pod", target="weather", **keycloak))

    def denied() -> bool:
        answer = api.create(pod(namespace, "weather"), dry_run=True)
        return not answer.ok and "ConfigInvalid" in answer.message and "adminCredentialsSecret" in answer.message

    existing = api.get("AgentRuntime", namespace, "weather")
    if existing.ok:
        wait_until(denied, 10, lambda: "the pod is admitted")


def test_a_token_url_off_the_issuers_origin_is_refused(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """A tokenUrl must have the origin of the resolved keycloak.url unless the cluster says otherwise."""
    install(mode="both")
    namespace = team()
    settings = {"identity": {"outbound": {"tokenExchange": {"tokenUrl": "http://evil.example/token"}}}}
    api.create(runtime(namespace, "weather", kind="Pod", target="weather", **settings))
    if api.get("AgentRuntime", namespace, "weather").ok:

        def denied() -> bool:
            answer = api.create(pod(namespace, "weather"), dry_run=True)
            return not answer.ok and "tokenUrl" in answer.message

        wait_until(denied, 10, lambda: "the pod is admitted")


def test_two_runtimes_for_one_target_are_refused(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """The second AgentRuntime for one target is denied, naming the first."""
    install(mode="both")
    namespace = team()
    assert api.create(runtime(namespace, "first", kind="Pod", target="weather")).ok
    answer = api.create(runtime(namespace, "second", kind="Pod", target="weather"))
    assert not answer.ok
    assert "first" in answer.message


def test_a_claimed_owner_that_does_not_hold_gives_no_identity_of_it(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """A pod that names a ReplicaSet with a made-up UID is a standalone pod: that ReplicaSet's AgentRuntime is not its."""
    install(mode="both")
    namespace = team()
    assert api.create(runtime(namespace, "weather", kind="Deployment", target="weather")).ok
    manifest = pod(namespace, "thief")
    manifest["metadata"]["ownerReferences"] = [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "weather-abc", "uid": "0-0-0", "controller": True}
    ]
    answer = api.create(manifest, dry_run=True)
    assert answer.ok, answer.message
    assert bare(answer.body)


def test_mandatory_by_selector_reads_any_label_of_the_namespace(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str], cluster_config: Callable[[JSON], None]
) -> None:
    """A selector over a label of somebody else's prefix selects: such a policy must not fail open."""
    install(mode="both")
    namespace = team(labels={"example.com/tier": "agents"})
    selector = {"matchExpressions": [{"key": "example.com/tier", "operator": "In", "values": ["agents"]}]}
    cluster_config({"policy": {"namespaces": [{"selector": selector, "injection": "Mandatory"}]}})
    wait_until(lambda: injected(api.create(pod(namespace, "probe"), dry_run=True).body), 10, lambda: "not in force")
