"""The status of the config kinds: the same checks as the validating webhook's, said as conditions."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from kagenti.core import reconcile, settings
from kagenti.core.admission.desk import Desk
from kagenti.core.admission.evaluate import Context
from kagenti.core.admission.validate import validate
from kagenti.core.layers import LayerCache
from kagenti.core.reconcile import ConfigFacts, Tools, Usage, left_behind
from tests.unit.core.admission.cluster import NOW, Cluster, context, ours, request, stored
from tests.unit.core.reconcile.given import conditions, message

JSON = Any  # a status

MANDATORY = {"policy": {"injection": "Mandatory"}}
FAR = {"identity": {"clientRegistration": {"keycloak": {"url": "https://far.example"}}}}


@dataclass
class Row:
    """One case: a config under a cluster, and its two conditions."""

    why: str
    spec: JSON
    valid: tuple[str, str] = ("True", "Valid")
    policy: tuple[str, str] = ("True", "NotMandatory")
    cluster: Cluster = field(default_factory=Cluster)
    mode: str = "both"
    by_workload: bool = False
    layer: Any = "namespace"
    says: str = ""

    @property
    def context(self) -> Context:
        """What is the same for every evaluation."""
        return replace(context(self.mode), by_workload=self.by_workload)


def under(**spec: JSON) -> Cluster:
    """A cluster with that cluster layer."""
    return Cluster(cluster=stored("", **spec))


ROWS = [
    Row("empty", {}),
    Row("a note changes nothing", {"trace": {"exporters": [{"type": "jaeger", "endpoint": "j:14250"}]}}, says="jaeger"),
    Row("does not parse", {"trace": {"sampling": {"rate": 7}}}, ("False", "ConfigInvalid"), ("Unknown", "ConfigInvalid"),
        says="trace.sampling.rate"),
    Row("a misspelt policy", {"policy": {"injection": "mandatory"}}, ("False", "ConfigInvalid"), ("Unknown", "ConfigInvalid")),
    Row("locked above", {"trace": {"sampling": {"rate": 0.2}}}, ("False", "LockViolation"),
        cluster=under(policy={"locked": ["trace.sampling"]}), says="trace.sampling"),
    Row("the cluster's alone", {"injection": {"imageRegistry": "r.example"}}, ("False", "Unauthorised"), says="imageRegistry"),
    Row("delegated", {"injection": {"imageRegistry": "r.example"}},
        cluster=under(policy={"delegated": ["injection.imageRegistry"]})),
    Row("sends credentials elsewhere", FAR, ("False", "ConfigInvalid"), says="adminCredentialsSecret"),
    Row("enforced", MANDATORY, policy=("True", "Enforced")),
    Row("not enrolled", MANDATORY, policy=("False", "PolicyUnenforced"), cluster=Cluster(labels={"team1": {}}), says="enrol"),
    Row("mode label", MANDATORY, policy=("False", "PolicyUnenforced"), mode="label", says="mode"),
    Row("target workloads", MANDATORY, policy=("False", "PolicyUnenforced"), by_workload=True, says="standalone pods"),
    Row("cluster, empty", {}, layer="cluster"),
    Row("cluster, mandatory somewhere", {"policy": {"namespaces": [{"names": ["team1"], "injection": "Mandatory"}]}},
        policy=("True", "Enforced"), layer="cluster"),
    Row("cluster, mandatory where nobody enrolled", {"policy": {"namespaces": [{"names": ["team1"], "injection": "Mandatory"}]}},
        policy=("False", "PolicyUnenforced"), cluster=Cluster(labels={"team1": {}}), layer="cluster"),
    Row("cluster, mandatory nowhere", {"policy": {"namespaces": [{"names": ["team-1"], "injection": "Mandatory"}]}},
        policy=("True", "Enforced"), layer="cluster", says="policy.namespaces[0].names: no namespace is named 'team-1'"),
    Row("cluster, mandatory by a label that none has",
        {"policy": {"namespaces": [{"selector": {"matchLabels": {"a": "b"}}, "injection": "Mandatory"}]}},
        policy=("True", "Enforced"), layer="cluster", says="policy.namespaces[0].selector selects no namespace"),
]  # fmt: skip


def plan(row: Row, status: JSON = None) -> reconcile.Plan:
    """What follows for the row's config."""
    config = stored("team1" if row.layer == "namespace" else "", **row.spec)
    if row.layer == "namespace":
        row.cluster.configs["team1"] = config
    else:
        row.cluster.cluster = config
    layers = LayerCache()
    facts = ConfigFacts(row.layer, config, 2, status or {}, Usage(1, 4))
    made = row.context
    return reconcile.plan_config(facts, Desk(row.cluster, layers, made), Tools(layers, made, NOW))


@pytest.mark.parametrize("row", ROWS, ids=[row.why for row in ROWS])
def test_every_state_of_a_config_has_its_conditions(row: Row) -> None:
    """Validity and enforcement are two questions."""
    found = plan(row)
    assert conditions(found) == {"Valid": row.valid, "PolicyEnforced": row.policy}
    assert row.says in message(found, "Valid") + message(found, "PolicyEnforced")
    assert found.status is not None
    assert (found.status["namespaces"], found.status["workloads"], found.status["observedGeneration"]) == (1, 4, 2)


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.layer == "namespace"], ids=[row.why for row in ROWS if row.layer == "namespace"]
)
def test_the_validating_webhook_says_the_same(row: Row) -> None:
    """What it would deny is not Valid, and where it warns of an unenforced policy the condition says so."""
    kind = "AgentRuntimeConfig"
    answer = validate(request(ours(kind, "default", **row.spec)), Desk(row.cluster, LayerCache(), row.context))
    found = conditions(plan(row))
    contradicts = any("triggered pods will be denied" in warning for warning in answer.warnings)
    assert (answer.allowed and not contradicts) == (found["Valid"][0] == "True")
    assert any("PolicyUnenforced" in warning for warning in answer.warnings) == (found["PolicyEnforced"][0] == "False")


def test_the_revision_in_force_is_the_content_hash_of_what_the_config_sets() -> None:
    """The same that the xDS replicas report about."""
    spec = {"trace": {"sampling": {"rate": 0.5}}}
    status = plan(Row("", spec)).status
    assert status is not None
    assert status["revision"] == settings.short(settings.digest({"trace.sampling.rate": 0.5}))


def test_a_version_that_does_not_parse_keeps_the_last_one_in_force_and_says_so() -> None:
    """Its revision stays that of the last valid version."""
    layers, made = LayerCache(), context()
    good = stored("team1", trace={"sampling": {"rate": 0.5}})
    layers.read("namespace", good)
    bad = replace(good, spec=b'{"trace":{"sampling":{"rate":7}}}', resource_version="2")
    view = Cluster(configs={"team1": bad})
    facts = ConfigFacts("namespace", bad, 3, {}, Usage(1, 1))
    found = reconcile.plan_config(facts, Desk(view, layers, made), Tools(layers, made, NOW))
    assert conditions(found)["Valid"] == ("False", "ConfigInvalid")
    assert "last valid version 1 is in force" in message(found, "Valid")
    assert found.status is not None
    assert found.status["revision"] == settings.short(settings.digest({"trace.sampling.rate": 0.5}))


def test_a_config_that_has_its_status_is_not_written() -> None:
    """Idle costs nothing."""
    row = Row("", {})
    assert plan(row, plan(row).status).status is None


LEFT = [
    ("nobody reported", {}, {"xds-0"}, ()),
    ("all alive", {"propagation": [{"replica": "xds-0"}]}, {"xds-0"}, ()),
    ("one crashed", {"propagation": [{"replica": "xds-0"}, {"replica": "xds-1"}]}, {"xds-1"}, ("xds-0",)),
    ("what is no entry is passed over", {"propagation": ["x", {"replica": None}]}, {"xds-1"}, ()),
]


@pytest.mark.parametrize(("why", "status", "alive", "gone"), LEFT, ids=[row[0] for row in LEFT])
def test_entries_of_replicas_that_are_gone_are_found(why: str, status: JSON, alive: set[str], gone: Any) -> None:
    """By the pods that exist."""
    assert left_behind(status, alive) == gone, why


WORDS = [
    ("entries stand", [{"replica": "xds-0"}], "Propagated", 2, None),
    ("the last replica went", [], "Propagated", 2, ("False", "NoReplica")),
    ("the last replica crashed", [{"replica": "xds-9"}], "Propagated", 2, ("False", "NoReplica")),
    ("and no proxy runs", [], "Pending", 0, ("Unknown", "NoProxies")),
    ("it is said already", [], "NoReplica", 2, None),
    ("nobody has ever said anything", [], "", 2, None),
]


@pytest.mark.parametrize(("why", "entries", "reason", "proxies", "said"), WORDS, ids=[row[0] for row in WORDS])
def test_the_last_word_on_propagation_is_ours_when_no_replica_is_left(
    why: str, entries: JSON, reason: str, proxies: int, said: Any
) -> None:
    """A condition that stays True after its authors are gone would be a lie."""
    observed = [{"type": "ConfigPropagated", "status": "True", "reason": reason, "message": ""}] if reason else []
    status = {"propagation": entries, "conditions": observed}
    tools = Tools(LayerCache(), context(), NOW)
    word = reconcile.last_word(status, {"xds-0"}, proxies=proxies, generation=1, tools=tools)
    assert (word and (word["status"], word["reason"])) == said, why
