"""A pod's request in, the answer out: needs, decision, patch, warnings, audit; forged receipts; readiness."""

import base64
import copy
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from kagenti.core.admission import pods
from kagenti.core.admission.respond import Answer
from kagenti.core.workload import OwnerReference, WorkloadRef
from tests.json_patch import applied
from tests.unit.core.admission.cluster import (
    DEPLOYMENT,
    ENABLED,
    NOW,
    OURS,
    Cluster,
    context,
    layers,
    pod,
    reference,
    request,
    stored,
)

JSON = Any  # a raw pod


def answer(manifest: JSON, cluster: Cluster, *, mode: str = "both", owner: WorkloadRef = DEPLOYMENT) -> Answer:
    """The answer to the creation of that pod."""
    asked = request(manifest)
    return pods.mutate_pod(asked, cluster.facts(owner), context=context(mode), layers=layers(), now=NOW)


def patched(manifest: JSON, given: Answer) -> JSON:
    """The pod as the API server would store it, by another implementation of JSON patch."""
    response = orjson.loads(given.body())["response"]
    assert response["uid"] == "uid-1"
    if "patch" not in response:
        return manifest
    return applied(manifest, orjson.loads(base64.b64decode(response["patch"])))


def receipt(manifest: JSON) -> Mapping[str, JSON]:
    return orjson.loads(manifest["metadata"]["annotations"]["kagenti.io/injected"])


def runtime(**spec: JSON) -> Any:
    return stored("team1", "weather", targetRef=reference(), **spec)


def test_needs_of_a_pod_of_a_replicaset() -> None:
    """The owner is to be read, and a miss deserves a strict read."""
    needed = pods.needs(request(pod()))
    assert needed.reference == OwnerReference("apps/v1", "ReplicaSet", "weather-7c9d8f", "rs")
    assert needed.runtimes


@pytest.mark.parametrize(("label", "reads"), [("enabled", True), ("disabled", False), ("typo", False)])
def test_no_strict_read_for_a_pod_whose_fate_is_sealed(label: str, reads: bool) -> None:
    """Opted out or denied, whatever an AgentRuntime says."""
    assert pods.needs(request(pod(labels={"kagenti.io/inject": label}))).runtimes is reads


def test_a_standalone_pod_is_its_own_owner() -> None:
    """Without controller reference there is nothing to read."""
    manifest = pod()
    del manifest["metadata"]["ownerReferences"]
    manifest["metadata"]["name"] = "weather"
    needed = pods.needs(request(manifest))
    assert needed == pods.Needs(None, WorkloadRef("", "Pod", "team1", "weather"), runtimes=True)


def test_a_label_injects() -> None:
    """Our containers first, in order, with a receipt; the audit annotations say why."""
    manifest = pod(labels=ENABLED)
    given = answer(manifest, Cluster())
    made = patched(manifest, given)
    assert [found["name"] for found in made["spec"]["initContainers"]] == OURS
    assert receipt(made)["trigger"] == "Label"
    assert made["metadata"]["annotations"]["kagenti.io/injected-at"] == "2026-11-24T12:00:00Z"
    assert {key: given.audit[key] for key in ("decision", "reason", "trigger", "owner")} == {
        "owner": "Deployment team1/weather",
        "decision": "injected",
        "reason": "Label",
        "trigger": "Label",
    }
    assert len(given.audit["revision"]) == 12


def test_an_agentruntime_injects_with_its_overrides() -> None:
    """Settings and type come from the AgentRuntime."""
    manifest = pod()
    cluster = Cluster(agent_runtimes=[runtime(type="tool", trace={"sampling": {"rate": 0.875}})])
    made = patched(manifest, answer(manifest, cluster))
    environment = {entry["name"]: entry.get("value") for entry in made["spec"]["containers"][0]["env"]}
    assert environment["OTEL_TRACES_SAMPLER_ARG"] == "0.875"
    assert made["metadata"]["labels"]["kagenti.io/type"] == "tool"
    assert receipt(made)["trigger"] == "AgentRuntime"


def test_parity_of_the_triggers() -> None:
    """One pod and one set of layers: byte-identical but for the receipt's trigger and the label that triggered."""
    cluster = Cluster(agent_runtimes=[runtime()])
    manifest = pod(labels=ENABLED)
    by_label = patched(manifest, answer(manifest, cluster, mode="label"))
    by_runtime = patched(manifest, answer(manifest, cluster, mode="cr"))
    first, second = dict(receipt(by_label)), dict(receipt(by_runtime))
    assert (first.pop("trigger"), second.pop("trigger")) == ("Label", "AgentRuntime")
    assert first == second
    for made in (by_label, by_runtime):
        del made["metadata"]["annotations"]["kagenti.io/injected"]
    assert orjson.dumps(by_label) == orjson.dumps(by_runtime)


def test_called_again_there_is_nothing_to_do() -> None:
    """Reinvocation: the answer to an injected pod is an empty patch."""
    manifest = pod(labels=ENABLED)
    made = patched(manifest, answer(manifest, Cluster()))
    assert answer(made, Cluster()).patch == ()


def test_a_type_from_the_agentruntime_is_judged_alike_when_called_again() -> None:
    """The label that we add must not exclude the pod at reinvocation when its source did not before."""
    cluster = Cluster(
        configs={"team1": stored("team1", injection={"types": ["agent"]})}, agent_runtimes=[runtime(type="tool")]
    )
    given = answer(pod(), cluster)
    assert (given.reason, given.patch) == ("TypeExcluded", ())


@pytest.mark.parametrize(
    ("reason", "manifest", "cluster", "mode"),
    [
        ("NoTrigger", pod(), Cluster(), "both"),
        ("OptOut", pod(labels={"kagenti.io/inject": "disabled"}), Cluster(agent_runtimes=[runtime()]), "both"),
        ("LabelIgnored", pod(labels=ENABLED), Cluster(), "cr"),
        ("UnsupportedPod", pod(hostNetwork=True), Cluster(agent_runtimes=[runtime()]), "both"),
        (
            "InjectionDisabled",
            pod(labels=ENABLED),
            Cluster(configs={"team1": stored("team1", injection={"enabled": False})}),
            "both",
        ),
        (
            "NothingToInject",
            pod(labels=ENABLED),
            Cluster(configs={"team1": stored("team1", identity={"enabled": False}, trace={"exporters": []})}),
            "both",
        ),
    ],
)
def test_nothing_of_ours_stays_on_a_pod_that_is_not_injected(
    reason: str, manifest: JSON, cluster: Cluster, mode: str
) -> None:
    """Every way to stay bare drops a forged receipt, and says so."""
    forged = copy.deepcopy(manifest)
    forged["metadata"]["annotations"] = {"kagenti.io/injected": "{}", "config.kagenti.io/envoy.yaml": "{}", "mine": "1"}
    forged["metadata"]["labels"]["kagenti.io/managed"] = "true"
    given = answer(forged, cluster, mode=mode)
    assert (given.allowed, given.reason) == (True, reason)
    assert any(warning.startswith("ReceiptDropped: ") for warning in given.warnings)
    made = patched(forged, given)
    assert made["metadata"]["annotations"] == {"mine": "1"}
    assert "kagenti.io/managed" not in made["metadata"]["labels"]


def test_a_denied_pod_is_not_patched() -> None:
    """A denial carries no patch, whatever stands on the pod."""
    given = answer(pod(labels={"kagenti.io/inject": "yes"}, annotations={"kagenti.io/injected": "{}"}), Cluster())
    assert (given.allowed, given.patch) == (False, ())


def test_a_refusal_names_reason_field_and_way_out() -> None:
    """A pod whose content forbids injection is denied with the code of the refusal."""
    manifest = pod(labels=ENABLED, securityContext={"runAsUser": 1337})
    given = answer(manifest, Cluster())
    assert (given.allowed, given.reason) == (False, "ProxyUid")
    assert "1337" in given.message
    assert "Deployment team1/weather" in given.message


def test_mandatory_and_its_exemption_are_in_the_audit_log() -> None:
    """The policy's part in a decision can be found afterwards."""
    everybody = {"names": ["team1"], "injection": "Mandatory"}
    cluster = Cluster(cluster=stored("", policy={"namespaces": [everybody]}))
    assert answer(pod(), cluster).audit["policy"] == "Mandatory"
    exempt = {**everybody, "exempt": [reference()]}
    given = answer(pod(), Cluster(cluster=stored("", policy={"namespaces": [exempt]})))
    assert (given.reason, given.audit["policy"], given.patch) == ("Exempt", "Exempt", ())


def test_under_mandatory_the_pods_own_opt_outs_do_nothing() -> None:
    """Component labels and port annotations are bound by the locks of Mandatory."""
    cluster = Cluster(configs={"team1": stored("team1", policy={"injection": "Mandatory"})})
    manifest = pod(
        labels={"kagenti.io/envoy-proxy-inject": "false"}, annotations={"kagenti.io/inbound-ports-exclude": "8081"}
    )
    made = patched(manifest, answer(manifest, cluster))
    assert [found["name"] for found in made["spec"]["initContainers"]] == OURS
    script = next(found for found in made["spec"]["initContainers"] if found["name"] == "proxy-init")
    assert all("8081" not in (entry.get("value") or "") for entry in script["env"] if "EXCLUDE" in entry["name"])


def test_a_lock_binds_the_pods_own_labels() -> None:
    """A lock on a component's switch makes its opt-out label ineffective; without the lock it subtracts."""
    manifest = pod(labels={**ENABLED, "kagenti.io/client-registration-inject": "false"})
    free = patched(manifest, answer(manifest, Cluster()))
    assert "kagenti-client-registration" not in [found["name"] for found in free["spec"]["initContainers"]]
    locked = Cluster(configs={"team1": stored("team1", policy={"locked": ["components"]})})
    bound = patched(manifest, answer(manifest, locked))
    assert [found["name"] for found in bound["spec"]["initContainers"]] == OURS


def test_an_unreadable_config_denies_everybody_under_the_cr_entry() -> None:
    """Its policy is not known: Mandatory must not fail open."""
    cluster = Cluster(configs={"team1": stored("team1", trace=[])})
    given = answer(pod(), cluster)
    assert (given.allowed, given.reason) == (False, "ConfigInvalid")
    assert "AgentRuntimeConfig team1/default" in given.message


def test_an_unreadable_agentruntime_denies_its_own_pods_only() -> None:
    """It triggers, and cannot be read."""
    cluster = Cluster(agent_runtimes=[runtime(trace=[])])
    assert answer(pod(), cluster).reason == "ConfigInvalid"
    other = WorkloadRef("apps", "Deployment", "team1", "other")
    assert answer(pod(), cluster, owner=other).reason == "NoTrigger"


def test_an_inconsistent_result_names_the_fault() -> None:
    """Two readable layers that contradict each other."""
    ports = {"identity": {"outbound": {"trafficInterception": {"inboundProxyPort": 15123}}}}
    given = answer(pod(labels=ENABLED), Cluster(configs={"team1": stored("team1", **ports)}))
    assert (given.allowed, given.reason) == (False, "ConfigInvalid")
    assert "15123" in given.message


def test_a_namespace_that_was_not_seen_is_not_decided_about() -> None:
    """Policies select by labels: without them Mandatory could be missed."""
    given = answer(pod(labels=ENABLED), Cluster(labels={}))
    assert (given.allowed, given.reason, given.code) == (False, "NotReady", 503)
    assert "retry" in given.message


def test_podsecurity_of_the_namespace_is_judged() -> None:
    """The namespace's label forbids what we would add; without proxy-init there is nothing to forbid."""
    labels = {"team1": {"pod-security.kubernetes.io/enforce": "baseline"}}
    assert answer(pod(labels=ENABLED), Cluster(labels=labels)).reason == "PodSecurity"
    spared = pod(labels={**ENABLED, "kagenti.io/proxy-init-inject": "false"})
    assert answer(spared, Cluster(labels=labels)).reason == "Label"


@pytest.mark.parametrize(
    "asked",
    [
        request(pod(), old=pod()),
        request({**pod(), "kind": "Service"}),
        request(pod(), operation="CONNECT"),
    ],
)
def test_what_no_rule_sends_is_left_alone(asked: Any) -> None:
    """A request on something else is answered untouched."""
    given = pods.mutate_pod(asked, Cluster().facts(DEPLOYMENT), context=context(), layers=layers(), now=NOW)
    assert (given.allowed, given.reason, given.patch) == (True, "NotOurs", ())


def test_a_pod_of_wrong_types_is_refused_with_its_uid() -> None:
    """Code 400, not a crash."""
    given = answer(pod(labels=ENABLED, containers={"a": 1}), Cluster())
    assert (given.uid, given.allowed, given.code) == ("uid-1", False, 400)


def test_unknown_fields_survive() -> None:
    """The patch names nothing that it does not mean."""
    manifest = pod(labels=ENABLED, futureField={"deep": [1, {"er": None}]})
    made = patched(manifest, answer(manifest, Cluster()))
    assert made["spec"]["futureField"] == {"deep": [1, {"er": None}]}
