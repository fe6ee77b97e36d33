"""What a GitOps tool sees: manifests applied server-side, controllers run, live objects compared with what was declared."""

from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from tests.e2e.admission.manifests import runtime, workload
from tests.e2e.admission.observed import injected
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import ROOT, Installed
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received
KINDS = ("Deployment", "StatefulSet", "DaemonSet", "CronJob")
MARK = {"kagenti.io/inject": "enabled"}
MANAGER = "gitops-controller"
PAGE = ROOT / "docs" / "triggers.md"
BEGIN, END = "<!-- gitops:begin (written by tests/e2e/test_gitops.py --update-docs) -->\n", "<!-- gitops:end -->"
# Written by controllers on any cluster: tools ignore it.
CONTROLLERS = ".metadata.annotations.deployment.kubernetes.io/revision"


def manifests(namespace: str) -> list[JSON]:
    """One workload of each kind, by label and by AgentRuntime, as a repository has them."""
    found = []
    for kind in KINDS:
        name = kind.lower()
        found.append(workload(kind, namespace, f"{name}-label", labels=MARK))
        found.append(runtime(namespace, f"{name}-runtime", kind=kind, target=f"{name}-runtime", type="agent"))
        found.append(workload(kind, namespace, f"{name}-runtime"))
    return found


def applied(plane: ControlPlane, documents: list[JSON], *flags: str) -> dict[str, JSON]:
    """Applies as the tool does; returns the objects as stored, by kind and name."""
    text = orjson.dumps({"apiVersion": "v1", "kind": "List", "items": documents}).decode()
    command = ("apply", "--server-side", f"--field-manager={MANAGER}", "-o", "json", "-f", "-", *flags)
    items = orjson.loads(plane.kubectl(*command, stdin=text))["items"]
    return {f"{item['kind']}/{item['metadata']['name']}": declared(item) for item in items}


def declared(item: JSON) -> JSON:
    """Returns the parts that a manifest speaks of."""
    metadata = {key: item["metadata"].get(key) for key in ("labels", "annotations")}
    return {"metadata": metadata, "spec": item["spec"]}


def live(api: ApiClient, namespace: str, documents: list[JSON]) -> dict[str, JSON]:
    """Returns the same objects as they are now."""
    return {
        f"{document['kind']}/{document['metadata']['name']}": declared(
            api.get(document["kind"], namespace, document["metadata"]["name"]).body
        )
        for document in documents
    }


def drift(wanted: JSON, found: JSON, path: str = "") -> Iterator[str]:
    """Yields the paths at which two values differ; list items by name where they have one."""
    if isinstance(wanted, dict) or isinstance(found, dict):
        for key in sorted({*(wanted or {}), *(found or {})}):
            yield from drift((wanted or {}).get(key), (found or {}).get(key), f"{path}.{key}")
    elif isinstance(wanted, list) or isinstance(found, list):
        sides = [{item["name"] if isinstance(item, dict) and "name" in item else str(number): item
                  for number, item in enumerate(side or ())} for side in (wanted, found)]  # fmt: skip
        for key in {**sides[0], **sides[1]}:
            if key not in sides[0] or key not in sides[1]:
                yield f"{path}[{key}]"
            else:
                yield from drift(sides[0][key], sides[1][key], f"{path}[{key}]")
    elif wanted != found:
        yield path


def observed(
    target: str, install: Callable[..., Installed], cluster: ControlPlane, api: ApiClient, team: Callable[..., str]
) -> dict[str, list[str]]:
    """Returns the drift by object, once everything runs; a second application changes nothing more."""
    install(mode="both", target=target)
    namespace, outside = team(), team(labels={"kagenti.io/break-glass": ""})
    documents = manifests(namespace)
    baseline = applied(cluster, manifests(outside), "--dry-run=server")
    applied(cluster, documents)
    wait_until(lambda: _all_run(api, namespace), 30, lambda: f"only {len(api.items('Pod', namespace))} pods run")
    before = live(api, namespace, documents)
    applied(cluster, documents)
    assert live(api, namespace, documents) == before
    found = {name: [path for path in drift(baseline[name], before[name]) if path != CONTROLLERS] for name in baseline}
    return {name: paths for name, paths in found.items() if paths}


def _all_run(api: ApiClient, namespace: str) -> bool:
    """Whether each workload but the CronJobs has a running, injected pod (two nodes: a DaemonSet has two)."""
    pods = api.items("Pod", namespace)
    apps = {pod["metadata"]["labels"]["app"] for pod in pods if pod["status"].get("phase") == "Running"}
    return len(apps) == 2 * (len(KINDS) - 1) and all(injected(pod) for pod in pods)


def test_target_pods_drifts_nowhere(
    install: Callable[..., Installed], cluster: ControlPlane, api: ApiClient, team: Callable[..., str]
) -> None:
    """Workloads and AgentRuntimes stand as declared, while their pods are injected."""
    assert observed("pods", install, cluster, api, team) == {}


def test_target_workloads_drifts_and_the_docs_show_it(
    install: Callable[..., Installed],
    cluster: ControlPlane,
    api: ApiClient,
    team: Callable[..., str],
    request: pytest.FixtureRequest,
) -> None:
    """Every template that was filled differs from its manifest; the paths of a Deployment are in docs/triggers.md."""
    found = observed("workloads", install, cluster, api, team)
    workloads = {f"{kind}/{kind.lower()}-{trigger}" for kind in KINDS for trigger in ("label", "runtime")}
    assert set(found) == workloads
    assert all(path.startswith((".spec.template.", ".spec.jobTemplate.")) for paths in found.values() for path in paths)
    rows = "".join(f"| `{path.removeprefix('.')}` |\n" for path in found["Deployment/deployment-label"])
    table = f"Target pods: no path of any object. Target workloads, a labelled Deployment:\n\n| Path that drifts |\n|---|\n{rows}"
    head, _, rest = PAGE.read_text().partition(BEGIN)
    wanted = f"{head}{BEGIN}{table}{END}{rest.partition(END)[2]}"
    if request.config.getoption("--update-docs"):
        PAGE.write_text(wanted)
    assert PAGE.read_text() == wanted, "run it with --update-docs, and read what changed"
