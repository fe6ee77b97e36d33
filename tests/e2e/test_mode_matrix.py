"""Every trigger under every mode and target, and every switch between them: by the real helm, on live workloads.

One tour through all thirty ordered pairs of shapes: each step is ``helm upgrade`` from one shape to another, after which new
workloads show what the shape does, and pods that are made again show what the switch did to the workloads of the step before.
The tables of docs/triggers.md are written by ``--update-docs`` and compared otherwise.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.e2e.admission.manifests import runtime, workload
from tests.e2e.admission.observed import bare, injected
from tests.e2e.api_client import ApiClient
from tests.e2e.charts import RELEASE_NAMESPACE, run_helm, without_kinds
from tests.e2e.installed import PROBE_DEPLOYMENT, PROBE_POD, ROOT, Options, Webhook
from tests.e2e.kinds import serve_kinds
from tests.e2e.plane.control_plane import NODES, ControlPlane
from tests.e2e.plane.waiting import wait_until
from tests.e2e.test_chart import PROVIDED

JSON = Any  # a Kubernetes object as received
Shape = tuple[str, str]

PAGE = ROOT / "docs" / "triggers.md"
BEGIN, END = "<!-- matrix:begin (written by tests/e2e/test_mode_matrix.py --update-docs) -->\n", "<!-- matrix:end -->"
MODES, TARGETS = ("label", "cr", "both"), ("pods", "workloads")
SHAPES: list[Shape] = [(mode, target) for target in TARGETS for mode in MODES]
TEAM = "matrix"
MARK = {"kagenti.io/inject": "enabled"}
TRIGGERS = {
    "label": "label on the pod template",
    "own": "label on the workload alone",
    "runtime": "AgentRuntime",
    "both": "label and AgentRuntime",
    "none": "neither",
}
KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Job")


def triggered(shape: Shape, trigger: str) -> bool:
    """Whether that trigger counts under that shape (spec 03)."""
    mode, target = shape
    by_label = trigger in ("label", "both") or (trigger == "own" and target == "workloads")
    by_runtime = trigger in ("runtime", "both")
    return (by_label and mode != "cr") or (by_runtime and mode != "label")


def tour() -> list[Shape]:
    """Returns shapes in an order in which each follows each other one once (an Eulerian circuit, by Hierholzer)."""
    left = {shape: [other for other in SHAPES if other != shape] for shape in SHAPES}
    path, circuit = [SHAPES[0]], []
    while path:
        if left[path[-1]]:
            path.append(left[path[-1]].pop(0))
        else:
            circuit.append(path.pop())
    return circuit[::-1]


def test_the_tour_is_complete() -> None:
    """Thirty switches, each once."""
    steps = list(zip(tour(), tour()[1:], strict=False))
    assert len(steps) == len(set(steps)) == len(SHAPES) * (len(SHAPES) - 1)


@dataclass
class Lab:
    """A plane with the release in one shape, its webhook as a local process, and the workloads of each step."""

    place: ControlPlane
    api: ApiClient
    folder: Path
    webhooks: dict[Shape, Webhook] = field(default_factory=dict)
    rendered: dict[str, JSON] = field(default_factory=dict)
    steps: int = 0
    each: int = 1
    after_switch: dict[tuple[Shape, Shape, str], str] = field(default_factory=dict)
    fresh: dict[tuple[Shape, str], set[str]] = field(default_factory=dict)

    def helm(self, *arguments: str) -> None:
        """Runs helm; fails with what it said."""
        done = run_helm(*arguments, "--kubeconfig", str(self.place.kubeconfig), "-n", RELEASE_NAMESPACE)
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Installs the first shape, and starts a webhook for each under the account that the chart made."""
        self.helm("install", "kagenti", str(without_kinds()), *_values(SHAPES[0]))
        account = self.place.service_account_kubeconfig(RELEASE_NAMESPACE, "kagenti-webhook")
        for shape in SHAPES:
            options, folder = Options(mode=shape[0], target=shape[1]), self.folder / "-".join(shape)
            folder.mkdir()
            self.webhooks[shape] = Webhook(self.place, options, folder=folder, kubeconfig=account)
            self.webhooks[shape].start()

    def stop(self) -> None:
        """Ends the webhooks."""
        for webhook in self.webhooks.values():
            webhook.stop()

    def become(self, shape: Shape, *command: str) -> None:
        """Brings the release into a shape by that helm command; entries lead to the local process of that shape."""
        for path, webhooks in self.rendered.items():
            self._write(path, webhooks)  # as helm left them: an entry has a URL or a Service
        self.helm(*command)
        for kind, name in (("mutating", "kagenti-injector"), ("validating", "kagenti-validator")):
            path = f"/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations/{name}"
            self.rendered[path] = self.api.request("GET", path).body["webhooks"]
            self._write(path, [self._local(entry, self.webhooks[shape]) for entry in self.rendered[path]])
        wait_until(lambda: self._called(shape), 15, lambda: f"the API server does not call the webhook of {shape}")

    def _local(self, entry: JSON, webhook: Webhook) -> JSON:
        """Returns an entry that leads to a local process."""
        bundle = base64.b64encode(webhook.authority_pem).decode()
        path = entry["clientConfig"]["service"]["path"]
        return {**entry, "clientConfig": {"url": webhook.url + path, "caBundle": bundle}}

    def _write(self, path: str, webhooks: JSON) -> None:
        found = self.api.request("GET", path).body
        answer = self.api.request("PUT", path, {**found, "webhooks": webhooks})
        assert answer.ok, answer.message

    def _called(self, shape: Shape) -> bool:
        """Whether a dry run reaches the process of that shape: it counts one more answer of its mutating entry."""
        before = self.webhooks[shape].decisions()
        probe = PROBE_POD if shape[1] == "pods" else PROBE_DEPLOYMENT
        self.api.create({**probe, "metadata": {**probe["metadata"], "namespace": TEAM}}, dry_run=True)
        return self.webhooks[shape].decisions() > before

    def upgrade(self, shape: Shape) -> None:
        """Switches by ``helm upgrade``; local addresses in the configurations are overwritten."""
        self.become(shape, "upgrade", "--force-conflicts", "kagenti", str(without_kinds()), *_values(shape))

    def create(self, kind: str) -> None:
        """Creates a workload for each trigger; AgentRuntimes first."""
        self.steps += 1
        self.each = len(NODES) if kind == "DaemonSet" else 1
        for trigger in TRIGGERS:
            name = self.name(trigger)
            if trigger in ("runtime", "both"):
                self._make(runtime(TEAM, name, kind=kind, target=name, type="agent"))
            labels = MARK if trigger in ("label", "both") else None
            self._make(workload(kind, TEAM, name, labels=labels, own=MARK if trigger == "own" else None))
        wait_until(self.at_rest, 20, lambda: f"{kind}: {sorted(self.pods())} run")

    def at_rest(self) -> bool:
        """Whether this step's pods have come to rest: what a controller or the scheduler writes has been written."""
        found = self.mine()
        return len(found) == self.each * len(TRIGGERS) and all(
            pod["status"].get("phase") in ("Running", "Succeeded") for pod in found
        )

    def _make(self, manifest: JSON) -> None:
        made = self.api.create(manifest)
        assert made.ok, made.message

    def name(self, trigger: str) -> str:
        """Name of the workload of this step for a trigger."""
        return f"s{self.steps}-{trigger}"

    def pods(self, *, but: frozenset[str] = frozenset()) -> dict[str, JSON]:
        """Returns the pods of this step by trigger, those with other uids."""
        return {_trigger(pod): pod for pod in self.mine() if pod["metadata"]["uid"] not in but}

    def mine(self) -> list[JSON]:
        """Returns all pods of this step; a DaemonSet has one on each node. Those of all steps are megabytes."""
        return self.api.items("Pod", TEAM, labelSelector=self._selector())

    def _selector(self) -> str:
        return f"app in ({','.join(map(self.name, TRIGGERS))})"

    def everything(self) -> dict[str, str]:
        """Returns a hash of what is the users' of each pod and workload: all but status and the server's own metadata."""
        found = {}
        for kind in ("Pod", "Deployment", "StatefulSet", "DaemonSet", "Job"):
            for item in self.api.items(kind, TEAM):
                metadata = item["metadata"]
                kept = [metadata["uid"], metadata.get("annotations"), metadata.get("labels"), item["spec"]]
                found[f"{kind}/{metadata['name']}"] = hashlib.sha256(orjson.dumps(kept)).hexdigest()
        return found

    def made_again(self) -> dict[str, str]:
        """Deletes this step's pods and returns what becomes of the new ones by trigger; "waits" where none may be made."""
        old = frozenset(pod["metadata"]["uid"] for pod in self.mine())
        self.place.kubectl("delete", "pods", "-n", TEAM, "-l", self._selector(), "--wait=false")
        refused: set[str] = set()

        def settled() -> bool:
            refused.update(self._refused())
            found = self.mine()
            made = Counter(map(_trigger, found))
            gone = old.isdisjoint(pod["metadata"]["uid"] for pod in found)
            whole = all(made[trigger] == self.each for trigger in TRIGGERS if trigger not in refused)
            return gone and whole and all("nodeName" in pod["spec"] for pod in found)

        wait_until(settled, 20, lambda: f"made again: {sorted(self.pods(but=old))}, refused {sorted(refused)}")
        return dict.fromkeys(refused, "waits") | {trigger: state(pod) for trigger, pod in self.pods(but=old).items()}

    def _refused(self) -> set[str]:
        """The triggers of this step whose controllers may create no pod; told to try again, they do so by themselves."""
        path = f"/api/v1/namespaces/{TEAM}/events"
        events = self.api.request("GET", path, fieldSelector="reason=FailedCreate").body["items"]
        denied = [
            each for each in events if "denied the request" in each["message"] and "NotReady" not in each["message"]
        ]
        named = {event["involvedObject"]["name"] for event in denied}
        return {trigger for trigger in TRIGGERS if any(name.startswith(self.name(trigger)) for name in named)}


def _trigger(pod: JSON) -> str:
    """Returns what the workload of a pod is triggered by."""
    return str(pod["metadata"]["labels"]["app"].partition("-")[2])


def _values(shape: Shape) -> list[str]:
    return [*PROVIDED, "--set", f"webhook.triggerMode={shape[0]},webhook.target={shape[1]}"]


def state(pod: JSON) -> str:
    """Returns injected or bare; a pod is never half of each."""
    assert injected(pod) != bare(pod), pod["metadata"]["name"]
    return "injected" if injected(pod) else "bare"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The tour, made once."""
    with ControlPlane() as plane:
        serve_kinds(plane)
        plane.kubectl("create", "namespace", RELEASE_NAMESPACE)
        plane.kubectl("create", "namespace", TEAM)
        plane.kubectl("label", "namespace", TEAM, "kagenti.io/enrolled=true")
        api = ApiClient(plane)
        found = Lab(plane, api, tmp_path_factory.mktemp("lab"))
        try:
            found.start()
            travel(found)
            yield found
        finally:
            found.stop()
            api.close()


def travel(lab: Lab) -> None:
    """Goes through all shapes; at each, new workloads, and the pods of those of the step before are made again."""
    before: Shape | None = None
    for number, shape in enumerate(tour()):
        untouched = lab.everything()
        lab.upgrade(shape)
        assert lab.everything() == untouched, f"switching from {before} to {shape} touched something"
        if before is not None and KINDS[(number - 1) % len(KINDS)] != "Job":  # a Job is not run again
            for trigger, became in lab.made_again().items():
                lab.after_switch[before, shape, trigger] = became
        kind = KINDS[number % len(KINDS)]
        lab.create(kind)
        for trigger, pod in lab.pods().items():
            lab.fresh.setdefault((shape, trigger), set()).add(state(pod))
        before = shape


@pytest.mark.parametrize("trigger", TRIGGERS)
@pytest.mark.parametrize("shape", SHAPES, ids=" ".join)
def test_new_workloads_follow_the_shape_whatever_came_before(shape: Shape, trigger: str, lab: Lab) -> None:
    """Deployments, StatefulSets, DaemonSets and Jobs alike; reached from every other shape."""
    assert lab.fresh[shape, trigger] == {"injected" if triggered(shape, trigger) else "bare"}


def test_to_target_pods_no_triggered_pod_comes_up_bare(lab: Lab) -> None:
    """Made again after a switch to target pods: injected, also from templates that target workloads had filled."""
    lost = {
        key: became
        for key, became in lab.after_switch.items()
        if key[1][1] == "pods" and triggered(key[1], key[2]) and became == "bare"
    }
    assert lost == {}


def test_rollback_is_a_switch_like_any_other(lab: Lab) -> None:
    """To the revision before, with its entries; nothing running is touched."""
    shape = tour()[-2]
    untouched = lab.everything()
    lab.become(shape, "rollback", "--force-conflicts", "kagenti")
    assert lab.everything() == untouched
    lab.create("Deployment")
    assert {trigger: state(pod) for trigger, pod in lab.pods().items()} == {
        trigger: "injected" if triggered(shape, trigger) else "bare" for trigger in TRIGGERS
    }


def test_a_roll_out_after_a_switch_to_target_workloads_fills_the_templates(lab: Lab) -> None:
    """The way to follow the one switch that leaves triggered pods bare when they are made again."""
    lab.upgrade(("both", "pods"))
    lab.create("Deployment")
    shape = ("both", "workloads")
    lab.upgrade(shape)
    old = frozenset(pod["metadata"]["uid"] for pod in lab.mine())
    lab.place.kubectl("rollout", "restart", "-n", TEAM, *(f"deployment/{lab.name(trigger)}" for trigger in TRIGGERS))

    def rolled() -> bool:
        return lab.at_rest() and old.isdisjoint(pod["metadata"]["uid"] for pod in lab.mine())

    wait_until(rolled, 20, lambda: f"rolled: {sorted(lab.pods(but=old))}")
    assert {trigger: state(pod) for trigger, pod in lab.pods(but=old).items()} == {
        trigger: "injected" if triggered(shape, trigger) else "bare" for trigger in TRIGGERS
    }


def test_uninstall_leaves_workloads_as_they_are(lab: Lab) -> None:
    """And what is created afterwards is bare."""
    untouched = lab.everything()
    lab.helm("uninstall", "kagenti", "--no-hooks")
    assert lab.everything() == untouched
    lab.create("StatefulSet")
    assert {state(pod) for pod in lab.pods().values()} == {"bare"}


def tables(lab: Lab) -> str:
    """Returns what was observed, as Markdown."""
    head = "| Trigger | " + " | ".join(f"{mode}, {target}" for mode, target in SHAPES) + " |\n"
    rule = "|---" * (len(SHAPES) + 1) + "|\n"
    rows = "".join(
        f"| {text} | " + " | ".join("/".join(sorted(lab.fresh[shape, trigger])) for shape in SHAPES) + " |\n"
        for trigger, text in TRIGGERS.items()
    )
    return f"### New workloads\n\n{head}{rule}{rows}\n### Pods made again after a switch\n\n{_switches(lab)}"


def _switches(lab: Lab) -> str:
    """One row for each way between targets: modes are told apart where they differ."""
    rows = []
    for old in TARGETS:
        for new in TARGETS:
            for trigger, text in TRIGGERS.items():
                found = {
                    (key[1][0], became)
                    for key, became in lab.after_switch.items()
                    if (key[0][1], key[1][1], key[2]) == (old, new, trigger)
                }
                told = {mode: sorted(became for to, became in found if to == mode) for mode in MODES}
                cells = " | ".join(" or ".join(told[mode]) or "not observed" for mode in MODES)
                rows.append(f"| {old} → {new} | {text} | {cells} |\n")
    return "| Targets | Trigger | to label | to cr | to both |\n|---|---|---|---|---|\n" + "".join(rows)


def test_the_docs_say_what_was_observed(lab: Lab, request: pytest.FixtureRequest) -> None:
    """docs/triggers.md, between its marks."""
    head, _, rest = PAGE.read_text().partition(BEGIN)
    tail = rest.partition(END)[2]
    wanted = f"{head}{BEGIN}{tables(lab)}{END}{tail}"
    if request.config.getoption("--update-docs"):
        PAGE.write_text(wanted)
    assert PAGE.read_text() == wanted, "run it with --update-docs, and read what changed"
