"""From each era of the old webhook to kagenti on a real API server: what runs is never bare, and is configured as it was.

The old webhook of the pods' eras is played by a small one that adds its containers; in E1 they stand in the pod templates.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kagenti.core import rollout
from kagenti.core.migration import eras, installation
from kagenti.core.migration.model import effective
from kagenti.core.migration.observed import of_containers
from kagenti.core.migration.report import Report
from kagenti.core.migration.workloads import workload_of
from tests import legacy
from tests.e2e.admission.neighbour import Neighbour
from tests.e2e.admission.observed import injected, receipt
from tests.e2e.api_client import ApiClient
from tests.e2e.audit import requests
from tests.e2e.command import kagenti
from tests.e2e.installed import Installed
from tests.e2e.plane.access import Plane
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until
from tests.e2e.test_cli import apply

JSON = Any  # an object, or an answer of the command
WORKLOADS = {"forecast": "deployment", "ledger": "statefulset"}
KINDS = {"deployment": "Deployment", "statefulset": "StatefulSet"}
DEADLINE = 60
OURS = ("envoy-proxy", "proxy-init")

# What may differ after the move, and nothing else; the guide explains each.
INTENDED = {
    "E1a": {"CompiledImage"},
    "E1b": {"CompiledImage"},
    "E1c": {"CompiledImage"},
    "E2a": {"ClientName", "AudienceRequired"},
    "E2b": {"ClientName"},
    "E3": {"RegistrationMoved"},
    "E4": {"CombinedSidecar"},
    "E5": {"CombinedSidecar"},
}
# What the objects cannot show; the user says it.
NAMED = {"E1a", "E1b"}


def old_sidecars(prefix: str) -> Callable[[JSON], list[JSON]]:
    """What the old webhook did to a pod of its type: its containers, unless a container of such a name is there."""

    def patch(pod: JSON) -> list[JSON]:
        names = {item["name"] for key in ("containers", "initContainers") for item in pod["spec"].get(key) or ()}
        labels = pod["metadata"].get("labels") or {}
        if labels.get(f"{prefix}type") not in ("agent", "tool") or names & {"envoy-proxy", "proxy-init"}:
            return []
        return [
            {
                "op": "add",
                "path": "/spec/containers/-",
                "value": {"name": "envoy-proxy", "image": "old/envoy-with-processor:1"},
            }
        ]

    return patch


_numbers = itertools.count(1)  # a namespace is on its way out for a while: none is used twice


class Move:
    """One old installation on its way: its era, its namespace, and the command over it."""

    def __init__(self, cluster: ControlPlane, era: str) -> None:
        self.cluster, self.era, self.place = cluster, era, f"old-{era.lower()}-{next(_numbers)}"
        self.objects = [found for found in legacy.example(era, self.place) if found["metadata"]["name"] != "out"]

    def run(self, *words: str) -> Any:
        """Runs ``kagenti migrate`` on this namespace."""
        named = ("--era", self.era) if self.era in NAMED else ()
        where = ("-n", self.place, "--kubeconfig", str(self.cluster.kubeconfig))
        return kagenti("migrate", *words, *where, *(named if words[0] != "crs" else ()))

    def settings(self, *words: str) -> JSON:
        """Returns the report of ``migrate configmaps`` as data, with the exit code."""
        done = self.run("configmaps", "--trust-domain", legacy.TRUST_DOMAIN, "-o", "json", *words)
        assert done.stdout.startswith("{"), done.stderr
        return {**json.loads(done.stdout), "code": done.returncode}

    def steps(self, way: str) -> list[JSON]:
        """Returns the runbook as data."""
        done = self.run("trigger", "--to", way, "-o", "json")
        assert done.returncode == 0, done.stderr
        found: list[JSON] = json.loads(done.stdout)
        return found


@pytest.fixture
def move(
    cluster: ControlPlane, api: ApiClient, tmp_path: Path, install: Callable[..., Installed]
) -> Iterator[Callable[[str], Move]]:
    """Sets an old installation up, with kagenti's webhook running but not registered; takes everything away afterwards."""
    made: list[Move] = []
    servers: list[Neighbour] = []
    install(mode="both")
    api.delete("AgentRuntimeClusterConfig", "", "default")  # of an example that another test applied

    def start(era: str) -> Move:
        cluster.kubectl("delete", "mutatingwebhookconfiguration", "kagenti-injector", "--ignore-not-found")
        found = Move(cluster, era)
        made.append(found)
        row = eras.ERAS[era]
        homes = {one["metadata"].get("namespace") for one in found.objects} | {found.place, row.namespace}
        apply(
            cluster, *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in homes if name)
        )
        hooks = legacy.of_kind(found.objects, "MutatingWebhookConfiguration")
        if row.target == "pods":
            server = Neighbour(tmp_path, old_sidecars(row.prefix))
            server.start()
            servers.append(server)
            hooks = [server.configuration(row.configuration, found.place, reinvocation="IfNeeded")]
        else:
            hooks[0]["webhooks"][0] |= {
                "name": "inject.legacy.example",
                "objectSelector": {"matchLabels": {"served-by": "nobody"}},
            }
        accounts = [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": found.place}}
            for name in WORKLOADS
        ]
        rest = [one for one in found.objects if one["kind"] != "MutatingWebhookConfiguration"]
        apply(cluster, *hooks, *accounts)
        if row.target == "pods":
            _wait_called(api, found.place, {f"{row.prefix}type": "agent"})
        apply(cluster, *rest)
        return found

    yield start
    for found in made:
        _take_away(found)
    for server in servers:
        server.stop()


def _wait_called(api: ApiClient, place: str, labels: dict[str, str]) -> None:
    """Waits until the API server calls the old webhook: a dry run of a pod comes back changed."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": place, "labels": labels},
        "spec": {"serviceAccountName": "forecast", "containers": [{"name": "agent", "image": "registry.example/x:1"}]},
    }

    def called() -> bool:
        answer = api.create(pod, dry_run=True)
        return answer.ok and has_sidecars(answer.body)

    wait_until(called, DEADLINE, lambda: "the API server does not call the old webhook")


def bare_creates(cluster: ControlPlane, place: str) -> list[str]:
    """Returns the creations of pods in which, by the audit log, no webhook changed the pod."""
    made = [
        request
        for request in requests(cluster.audit_log, namespace=place)
        if (request.verb, request.resource, request.subresource) == ("create", "pods", "")
        and request.code < 300  # HTTP success
        and "dryRun" not in request.uri
    ]
    assert len(made) >= len(WORKLOADS), "the audit log shows no pods: this proves nothing"
    return [
        f"{request.at} {request.uri}"
        for request in made
        if not any('"mutated":true' in said for said in request.annotations.values())
    ]


def _take_away(found: Move) -> None:
    name = eras.ERAS[found.era].configuration
    found.cluster.kubectl("delete", "mutatingwebhookconfiguration", name, "--ignore-not-found")
    delete_maps(found)
    found.cluster.kubectl("delete", "namespace", found.place, "--wait=false")
    found.cluster.kubectl("delete", "agentruntimeclusterconfig", "--all")


def delete_maps(found: Move) -> None:
    """Deletes every ConfigMap of the old installation."""
    for one in legacy.of_kind(found.objects, "ConfigMap"):
        metadata = one["metadata"]
        found.cluster.kubectl(
            "delete", "configmap", metadata["name"], "-n", metadata["namespace"], "--ignore-not-found"
        )


def pods(api: ApiClient, place: str) -> list[JSON]:
    """Returns the pods that are there to stay."""
    return [pod for pod in api.items("Pod", place) if "deletionTimestamp" not in pod["metadata"]]


def has_sidecars(pod: JSON) -> bool:
    """Whether a pod has sidecars, of whichever webhook."""
    names = {item["name"] for key in ("containers", "initContainers") for item in pod["spec"].get(key) or ()}
    return "envoy-proxy" in names


def settled(api: ApiClient, place: str, holds: Callable[[JSON], bool]) -> None:
    """Waits until both workloads are rolled out with one pod each, and what must hold holds for all."""

    def done() -> bool:
        rolled = [rollout.read(api.get(KINDS[kind], place, name).body) for name, kind in WORKLOADS.items()]
        found = pods(api, place)
        apps = sorted(pod["metadata"]["labels"]["app"] for pod in found)
        return not any(each.rolling for each in rolled) and apps == sorted(WORKLOADS) and all(map(holds, found))

    wait_until(
        done,
        DEADLINE,
        lambda: f"{[(pod['metadata']['name'], has_sidecars(pod), injected(pod)) for pod in pods(api, place)]}",
    )


def carry_out(found: Move, way: str, api: ApiClient, install: Callable[..., Installed], *, last: str = "") -> list[str]:
    """Carries the runbook out step by step, as a person does; no pod is bare at any time. Returns the titles."""
    titles = []
    for step in found.steps(way):
        if step["title"] == last:
            break
        done = found.run("trigger", "--to", way, "--step", step["name"])
        assert done.returncode == 0, (step["title"], done.stderr)
        titles.append(step["title"])
        if step["command"]:
            assert done.stdout.strip() == step["command"]
            by_hand(step, found, install)
        assert [pod["metadata"]["name"] for pod in pods(api, found.place) if not has_sidecars(pod)] == []
    return titles


def by_hand(step: JSON, found: Move, install: Callable[..., Installed]) -> None:
    """Does what a step asks a person for."""
    command = step["command"]
    if command.startswith("kagenti crds"):
        answer = found.settings("--apply")
        assert answer["faults"] == []
        assert all(line.endswith("applied") for line in answer["applied"]), answer["applied"]
    elif "triggerMode=" in command:
        install(mode=command.rpartition("=")[2])
    elif command.startswith("kubectl delete mutatingwebhookconfiguration"):
        found.cluster.kubectl("delete", "mutatingwebhookconfiguration", command.split()[-1])
    else:
        restart(found)


def restart(found: Move) -> None:
    """Restarts both workloads; kubectl refuses a second restart within one second."""
    for name, kind in WORKLOADS.items():
        wait_until(lambda: _restarted(found, f"{kind}/{name}"), 20, lambda: f"{name}: kubectl still refuses")  # noqa: B023


def _restarted(found: Move, workload: str) -> bool:
    """Whether kubectl has restarted it."""
    try:
        found.cluster.kubectl("rollout", "restart", workload, "-n", found.place)
    except RuntimeError as refused:
        if "within the past second" not in str(refused):
            raise
        return False
    return True


def model_of(found: Move) -> installation.Old:
    """Returns the old installation as the model has it."""
    return installation.read(
        legacy.of_kind(found.objects, "ConfigMap"),
        legacy.of_kind(found.objects, "Namespace"),
        era=eras.ERAS[found.era],
        report=Report(),
        trust_domain=legacy.TRUST_DOMAIN,
    )


@pytest.mark.parametrize("era", sorted(eras.ERAS))
def test_the_move_of_an_era(
    era: str, move: Callable[[str], Move], api: ApiClient, install: Callable[..., Installed], cluster: ControlPlane
) -> None:
    """Settings, triggers, the switch, a restart: equal to what ran before; again: nothing; without the old maps: nothing."""
    found = move(era)
    settled(api, found.place, has_sidecars)
    before = found.settings("--verify")
    assert before["faults"] == []
    assert before["code"] == 1, "without a trigger of ours they would lose their sidecars, and the command says so"
    if era not in NAMED:
        assert before["era"]["name"] == era

    titles = carry_out(found, "cr", api, install, last="Trigger mode cr")
    assert "The old webhook goes" in titles
    restart(found)
    settled(api, found.place, injected)

    verified = found.settings("--verify")
    assert (verified["code"], verified["faults"]) == (0, [])
    assert {one["workload"].rpartition("/")[2] for one in verified["workloads"]} == set(WORKLOADS)
    told = {one["reason"] for workload in verified["workloads"] for one in workload["differences"]}
    assert told <= INTENDED[era]
    _live_pods_are_as_they_were(found, api)
    if eras.ERAS[era].target == "pods":
        assert bare_creates(cluster, found.place) == []

    again = found.settings("--apply")
    assert again["code"] == 0
    assert [line for line in again["applied"] if not line.endswith("unchanged")] == []
    _nothing_hangs_on_the_old_maps(found, api)


def _live_pods_are_as_they_were(found: Move, api: ApiClient) -> None:
    """Field by field: what stands in the containers of the running pods, against the model of the old webhook."""
    old = model_of(found)
    manifests = {one["metadata"]["name"]: one for one in legacy.of_kind(found.objects, "Deployment", "StatefulSet")}
    for pod in pods(api, found.place):
        workload = workload_of(manifests[pod["metadata"]["labels"]["app"]])
        assert workload is not None
        was = effective(old, workload.pod)
        now = of_containers(pod["spec"]["initContainers"])
        compared = set(was.values) & set(now) - set(was.notes)
        assert len(compared) >= 8, compared
        assert {field: now[field] for field in compared} == {field: was.values[field] for field in compared}


def _nothing_hangs_on_the_old_maps(found: Move, api: ApiClient) -> None:
    """Deleted, they change neither an object of ours nor what a new pod gets, nor does a further run."""
    configs = ("AgentRuntimeConfig", found.place), ("AgentRuntimeClusterConfig", "")
    specs = [api.get(kind, place, "default").body["spec"] for kind, place in configs]
    built = {pod["metadata"]["labels"]["app"]: receipt(pod)["settings"] for pod in pods(api, found.place)}
    names = {pod["metadata"]["uid"] for pod in pods(api, found.place)}
    delete_maps(found)
    answer = found.settings("--apply")
    assert (answer["code"], answer["applied"]) == (0, [])
    assert {one["reason"] for one in answer["findings"]} >= {"MissingObject"}
    restart(found)
    settled(api, found.place, lambda pod: injected(pod) and pod["metadata"]["uid"] not in names)
    assert {pod["metadata"]["labels"]["app"]: receipt(pod)["settings"] for pod in pods(api, found.place)} == built
    assert [api.get(kind, place, "default").body["spec"] for kind, place in configs] == specs


def test_to_cr_and_back_to_label(
    move: Callable[[str], Move], api: ApiClient, install: Callable[..., Installed], cluster: ControlPlane
) -> None:
    """All the way to cr, where labels mean nothing, and back to label, where AgentRuntimes trigger nothing: never bare."""
    found = move("E2b")
    settled(api, found.place, has_sidecars)
    assert carry_out(found, "cr", api, install)[-1] == "Trigger mode cr"
    restart(found)
    settled(api, found.place, injected)
    template = api.get("Deployment", found.place, "forecast").body["spec"]["template"]
    assert "kagenti.io/inject" not in template["metadata"]["labels"]

    assert carry_out(found, "label", api, install)[-1] == "Trigger mode label"
    settled(api, found.place, lambda pod: injected(pod) and receipt(pod)["trigger"] == "Label")
    assert bare_creates(cluster, found.place) == []


def test_a_step_out_of_order_is_refused(
    move: Callable[[str], Move], api: ApiClient, install: Callable[..., Installed]
) -> None:
    """Labels go only where what replaces them was seen to work, and the old webhook only when nothing hangs on it."""
    found = move("E2b")
    for name in ("labels", "old-webhook"):
        done = found.run("trigger", "--to", "cr", "--step", name)
        assert (done.returncode, "not installed" in done.stderr) == (1, True), done.stderr
    install(mode="both")
    for name in ("labels", "old-webhook"):
        done = found.run("trigger", "--to", "cr", "--step", name)
        assert (done.returncode, "a pod would be bare" in done.stderr) == (1, True), done.stderr
        assert "NotEnrolled" in done.stderr or "NoTrigger" in done.stderr
    template = api.get("Deployment", found.place, "forecast").body["spec"]["template"]
    assert template["metadata"]["labels"]["kagenti.io/inject"] == "enabled"


def test_bad_objects_and_a_namespace_without_access(
    move: Callable[[str], Move], api: ApiClient, cluster: ControlPlane
) -> None:
    """A fault for each, everything else is migrated, exit 1; nothing is applied unless that is asked for."""
    found = move("E2b")
    broken = legacy.config_map("kagenti-webhook-system", "kagenti-webhook-defaults", **{"config.yaml": "images: [\n"})
    closed = "old-closed"
    apply(
        cluster, legacy.namespace(closed), broken, legacy.config_map(closed, "authbridge-config", **legacy.AUTHBRIDGE)
    )
    person = _person(cluster, found.place)
    where = ("-n", found.place, "-n", closed, "--kubeconfig", str(person))
    done = kagenti("migrate", "configmaps", "--apply", "-o", "json", *where)
    answer = json.loads(done.stdout)
    assert done.returncode == 1
    faults = {(one["reason"], one["object"]) for one in answer["faults"]}
    assert ("Malformed", "ConfigMap kagenti-webhook-system/kagenti-webhook-defaults") in faults
    assert ("NoAccess", f"ConfigMaps of namespace {closed}") in faults
    assert "nothing was applied" in answer["applied"][0]
    assert api.get("AgentRuntimeConfig", found.place, "default").status == 404
    done = kagenti("migrate", "configmaps", "--apply", "--partial", "-o", "json", *where)
    assert f"AgentRuntimeConfig {found.place}/default applied" in json.loads(done.stdout)["applied"]
    assert done.returncode == 1
    assert api.get("AgentRuntimeConfig", closed, "default").status == 404
    cluster.kubectl("delete", "namespace", closed, "--wait=false")


def _person(cluster: Plane, place: str) -> Path:
    """A person who may read the old webhook's namespace and one agent namespace, and write kagenti's objects."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "mover", "namespace": place}}
    subject = {"kind": "ServiceAccount", "name": "mover", "namespace": place}
    rules = [
        {"apiGroups": ["kagenti.io"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list"]},
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["mutatingwebhookconfigurations"],
            "verbs": ["list"],
        },
    ]
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": "mover"}, "rules": rules}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "mover"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "mover"},
        "subjects": [subject],
    }
    views = [
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "mover", "namespace": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "view"},
            "subjects": [subject],
        }
        for name in (place, "kagenti-webhook-system", "kagenti-system", "rossoctl-system")
    ]
    homes = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "rossoctl-system"}}]
    apply(cluster, *homes, account, role, binding, *views)
    for words in (("list", "configmaps", "-n", "kagenti-webhook-system"), ("create", "agentruntimeconfigs.kagenti.io")):
        who = f"--as=system:serviceaccount:{place}:mover"
        wait_until(lambda: _may(cluster, *words, who), 20, lambda: f"the API server does not know the role: {words}")  # noqa: B023
    return cluster.service_account_kubeconfig(place, "mover")


def _may(cluster: Plane, *words: str) -> bool:
    try:
        cluster.kubectl("auth", "can-i", *words, "--quiet")
    except RuntimeError:
        return False
    return True


OLDER: JSON = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "spec": {
        "group": "agent.kagenti.dev",
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


def test_objects_of_the_older_group(move: Callable[[str], Move], api: ApiClient, cluster: ControlPlane) -> None:
    """Applied in our group, where the API server takes them; a card selects what its target selects; Agents are listed."""
    found = move("E3")
    kinds = {"AgentRuntime": "agentruntimes", "AgentCard": "agentcards", "Agent": "agents"}
    for kind, plural in kinds.items():
        names = {"kind": kind, "plural": plural, "singular": kind.lower()}
        metadata = {"name": f"{plural}.agent.kagenti.dev"}
        apply(cluster, {**OLDER, "metadata": metadata, "spec": {**OLDER["spec"], "names": names}})
    definitions = [f"{plural}.agent.kagenti.dev" for plural in kinds.values()]
    cluster.kubectl("wait", "--for=condition=Established", "crd", *definitions, "--timeout=20s")
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "forecast"}
    trace = {"endpoint": "otel-collector.observability:4317", "protocol": "grpc", "sampling": {"rate": 0.5}}
    specs = {
        "AgentRuntime": {"type": "agent", "targetRef": target, "trace": trace, "mtlsMode": "permissive"},
        "AgentCard": {"targetRef": target, "syncPeriod": "30s"},
        "Agent": {"image": "registry.example/forecast:3"},
    }
    metadata = {"name": "forecast", "namespace": found.place}
    apply(
        cluster,
        *(
            {"apiVersion": "agent.kagenti.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
            for kind, spec in specs.items()
        ),
    )
    done = found.run("crs", "--apply", "-o", "json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["faults"]) == (0, [])
    assert {one["key"] for one in answer["keys"] if one["verdict"] == "impossible"} == {"mtlsMode", "Agent"}
    runtime = api.get("AgentRuntime", found.place, "forecast").body["spec"]
    assert runtime["targetRef"] == target
    assert runtime["trace"]["sampling"] == {"rate": 0.5}
    card = json.loads(cluster.kubectl("get", "agentcard.kagenti.io", "forecast", "-n", found.place, "-o", "json"))[
        "spec"
    ]
    assert card["selector"] == {"matchLabels": {"app": "forecast"}}
    for plural in kinds.values():
        cluster.kubectl("delete", "crd", f"{plural}.agent.kagenti.dev", "--wait=false")
