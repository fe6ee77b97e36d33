"""Life of a release: its own test, checks by people, what a step must be prepared for, and removal under running agents.

KWOK runs no container, so the commands of hook pods run as local processes under the tokens of their rendered accounts.
"""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.e2e import command
from tests.e2e.admission.manifests import runtime, workload
from tests.e2e.admission.observed import injected
from tests.e2e.api_client import Answer, ApiClient
from tests.e2e.audit import OURS, Right, granted, requests, told, used
from tests.e2e.charts import KUBE_VERSION, RELEASE_NAMESPACE, parsed, run_helm, without_kinds
from tests.e2e.installed import Installed, Options
from tests.e2e.kinds import serve_kinds
from tests.e2e.operator_process import Operator
from tests.e2e.plane.certificates import mint_authority
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a rendered manifest
AUTHORITY = mint_authority("lifecycle").certificate_pem
CHECK_NAMESPACE = f"{RELEASE_NAMESPACE}-check"
KINDS = ("mutatingwebhookconfiguration", "validatingwebhookconfiguration")


@pytest.fixture(scope="module")
def place() -> Iterator[ControlPlane]:
    """A plane of its own with our kinds: a release comes and goes."""
    with ControlPlane() as plane:
        serve_kinds(plane)
        plane.kubectl("create", "namespace", RELEASE_NAMESPACE)
        driver = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": "csi.spiffe.io"}}
        plane.kubectl("create", "-f", "-", stdin=orjson.dumps({**driver, "spec": {}}).decode())
        # No container runs here: the operator's Lease is held by nobody's pod.
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "spec": {"holderIdentity": "kagenti-operator-1"},
        }
        lease["metadata"] = {"name": "kagenti-operator", "namespace": RELEASE_NAMESPACE}
        plane.kubectl("create", "-f", "-", stdin=orjson.dumps(lease).decode())
        yield plane


@pytest.fixture(scope="module")
def api(place: ControlPlane) -> Iterator[ApiClient]:
    """A client of this plane."""
    client = ApiClient(place)
    yield client
    client.close()


def helm(place: ControlPlane, *arguments: str) -> str:
    """Runs helm on the release's namespace; fails with what it said."""
    done = run_helm(*arguments, "--kubeconfig", str(place.kubeconfig), "-n", RELEASE_NAMESPACE)
    assert done.returncode == 0, done.stderr
    return done.stdout


def values(options: Options) -> list[str]:
    """The values of an installation, with a CA of ours and a cluster config."""
    bundle = AUTHORITY.decode() if isinstance(AUTHORITY, bytes) else AUTHORITY
    given = ["--set", "certificates.mode=provided", "--set-string", f"certificates.caBundle={bundle}"]
    return [*options.values(), *given, "--set", "clusterConfig.identity.spiffe.trustDomain=prod.example.org"]


def hooks(place: ControlPlane, event: str) -> list[JSON]:
    """The hook objects of an event, as the release has them."""
    found = parsed(helm(place, "get", "hooks", "kagenti"))
    return [document for document in found if document["metadata"]["annotations"]["helm.sh/hook"] == event]


def prepared(place: ControlPlane, event: str) -> tuple[Path, list[str]]:
    """Applies what a hook's pod needs, and returns its account's kubeconfig and its arguments."""
    documents = hooks(place, event)
    runner = next(document for document in documents if document["kind"] in ("Pod", "Job"))
    for document in sorted(documents, key=lambda found: int(found["metadata"]["annotations"]["helm.sh/hook-weight"])):
        if document is not runner:
            place.kubectl("apply", "--server-side", "-f", "-", stdin=orjson.dumps(document).decode())
    spec = runner["spec"] if runner["kind"] == "Pod" else runner["spec"]["template"]["spec"]
    rights, api = granted(documents, spec["serviceAccountName"]), ApiClient(place)
    # The API server learns of roles by a watch of its own; a call before that is refused, which the last test here counts.
    wait_until(
        lambda: all(_may(api, spec["serviceAccountName"], right) for right in rights),
        20,
        lambda: f"{spec['serviceAccountName']} lacks rights of {told(rights)}",
    )
    account = place.service_account_kubeconfig(RELEASE_NAMESPACE, spec["serviceAccountName"])
    return account, list(spec["containers"][0]["args"])


def _may(api: ApiClient, account: str, right: Right) -> bool:
    """Whether the API server grants an account that right, in one of the namespaces of a release or everywhere."""
    resource, _, subresource = right.resource.partition("/")
    asked = {
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "verb": right.verb,
        "name": right.name,
    }
    for namespace in (RELEASE_NAMESPACE, CHECK_NAMESPACE, ""):
        spec = {"user": f"{OURS}{account}", "resourceAttributes": {**asked, "namespace": namespace}}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        if api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review).body["status"]["allowed"]:
            return True
    return False


def put_away(place: ControlPlane, event: str) -> None:
    """Deletes the objects of a hook, as helm does after it."""
    for document in reversed(hooks(place, event)):
        namespace = document["metadata"].get("namespace")
        scope = ("-n", namespace) if namespace else ()
        place.kubectl("delete", document["kind"], document["metadata"]["name"], "--ignore-not-found", *scope)


def kagenti(*arguments: str, kubeconfig: Path) -> subprocess.CompletedProcess[str]:
    """Runs the program."""
    return command.kagenti(*arguments, "--kubeconfig", str(kubeconfig))


def released(place: ControlPlane, options: Options, folder: Path) -> Installed:
    """Installs the release, and points its webhook configurations to a local process."""
    api = ApiClient(place)
    before = {pod["metadata"]["uid"] for pod in api.items("Pod", RELEASE_NAMESPACE)}  # of a release on its way out
    helm(place, "install", "kagenti", str(without_kinds()), *values(options))
    installation = Installed(place, options, folder=folder)
    installation.start()
    wait_until(
        lambda: before.isdisjoint(pod["metadata"]["uid"] for pod in api.items("Pod", RELEASE_NAMESPACE)),
        30,
        lambda: "pods of the release before are still there",
    )
    for name in ("kagenti-xds", "kagenti-webhook"):
        wait_until(lambda: scaled(place, name, 2), 30, lambda: f"the pods of {name} do not run")  # noqa: B023
    return installation


def scaled(place: ControlPlane, name: str, pods: int) -> bool:
    """Whether a Deployment has so many ready pods, and no others."""
    selector = f"app.kubernetes.io/component={name.removeprefix('kagenti-')}"
    found = orjson.loads(place.kubectl("get", "pods", "-n", RELEASE_NAMESPACE, "-l", selector, "-o", "json"))["items"]
    return len(found) == pods and all(pod["status"].get("phase") == "Running" for pod in found)


SHAPES = [("both", "pods"), ("label", "pods"), ("cr", "pods"), ("both", "workloads"), ("cr", "workloads")]


@pytest.fixture(params=SHAPES, ids=[" ".join(shape) for shape in SHAPES])
def release(request: pytest.FixtureRequest, place: ControlPlane, tmp_path: Path) -> Iterator[Installed]:
    """A release of one mode and target, removed afterwards."""
    mode, target = request.param
    installation = released(place, Options(mode=mode, target=target), tmp_path / "kagenti")
    yield installation
    installation.stop()
    helm(place, "uninstall", "kagenti", "--no-hooks")


def test_the_release_tests_itself(release: Installed, place: ControlPlane) -> None:
    """``helm test`` asks under its own account for a pod as a dry run, and finds it injected; and bare, when it is."""
    account, arguments = prepared(place, "test")
    try:
        wait_until(lambda: kagenti(*arguments, kubeconfig=account).returncode == 0, 20,
                   lambda: kagenti(*arguments, kubeconfig=account).stdout)  # fmt: skip
        assert "comes back injected" in kagenti(*arguments, kubeconfig=account).stdout
        place.kubectl("label", "namespace", CHECK_NAMESPACE, "kagenti.io/break-glass=")
        wait_until(lambda: kagenti(*arguments, kubeconfig=account).returncode == 1, 20, lambda: "it stays healthy")
        told = kagenti(*arguments, kubeconfig=account).stdout
        assert "NotInjected" in told
        assert "BreakGlass" in told
    finally:
        put_away(place, "test")


@pytest.fixture
def both(place: ControlPlane, tmp_path: Path) -> Iterator[Installed]:
    """A release with the default values."""
    installation = released(place, Options(), tmp_path / "kagenti")
    yield installation
    installation.stop()
    if "kagenti" in helm(place, "list", "-q"):
        helm(place, "uninstall", "kagenti", "--no-hooks")


def agents(api: ApiClient, namespace: str) -> list[JSON]:
    """Runs an agent by label and one by AgentRuntime, and returns their pods."""
    api.create({"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": namespace, "labels": {"kagenti.io/enrolled": "true"}}})  # fmt: skip
    mark = {"kagenti.io/inject": "enabled"}
    for manifest in (
        workload("Deployment", namespace, "by-label", labels=mark),
        runtime(namespace, "by-runtime", kind="Deployment", target="by-runtime", type="agent"),
        workload("Deployment", namespace, "by-runtime"),
    ):
        made = api.create(manifest)
        assert made.ok, made.message
    wait_until(lambda: len(running(api, namespace)) == 2, 20, lambda: "the agents do not run")
    return running(api, namespace)


def running(api: ApiClient, namespace: str) -> list[JSON]:
    """The running pods."""
    found = api.items("Pod", namespace)
    return sorted(
        (pod for pod in found if pod["status"].get("phase") == "Running"), key=lambda pod: str(pod["metadata"]["name"])
    )


def kept(pod: JSON) -> JSON:
    """What must stay of a pod: itself, its keys, its containers."""
    return [*(pod["metadata"].get(key) for key in ("uid", "labels", "annotations")), pod["spec"]]


def test_removal_disturbs_nobody(both: Installed, place: ControlPlane, api: ApiClient) -> None:
    """Pushing stops, then admission goes, then the rest; pods, AgentRuntimes and the cluster's layer stay as they are."""
    before = agents(api, "stays")
    assert all(injected(pod) for pod in before)
    done = kagenti("check", "--before", "uninstall", kubeconfig=place.kubeconfig)
    assert "KeepsLastPolicy: 2 injected pods in namespace stays" in done.stdout
    account, arguments = prepared(place, "pre-delete")
    done = kagenti(*arguments, kubeconfig=account)
    assert done.returncode == 0, done.stderr
    assert scaled(place, "kagenti-xds", 0)
    for kind in KINDS:
        assert "kagenti" not in place.kubectl("get", kind, "-o", "name")
    assert done.stdout.index("kagenti-xds scaled to 0") < done.stdout.index("kagenti-injector deleted")
    assert scaled(place, "kagenti-webhook", 2)
    again = kagenti(*arguments, kubeconfig=account)
    assert (again.returncode, "deleted" in again.stdout) == (0, False)
    put_away(place, "pre-delete")
    helm(place, "uninstall", "kagenti", "--wait")
    assert [kept(pod) for pod in running(api, "stays")] == [kept(pod) for pod in before]
    assert "agentruntimeclusterconfig" in place.kubectl("get", "agentruntimeclusterconfig", "default", "-o", "name")
    left = place.kubectl("get", "clusterroles,clusterrolebindings,validatingadmissionpolicies", "-o", "name").split()
    assert [name for name in left if "kagenti" in name] == []
    for pod in before:
        assert api.delete("Pod", "stays", pod["metadata"]["name"]).ok
    old = {pod["metadata"]["uid"] for pod in before}
    wait_until(lambda: len(running(api, "stays")) == 2 and not old & uids(api, "stays"), 20, lambda: "no new pods")
    assert [len(pod["spec"]["containers"]) for pod in running(api, "stays")] == [1, 1]
    for pod in running(api, "stays"):
        assert not pod["spec"].get("initContainers")
        assert not [key for key in pod["metadata"].get("annotations") or {} if "kagenti" in key]
    place.kubectl("delete", "namespace", "stays", "--timeout=60s")  # its controller waits out half of the pods' grace


def uids(api: ApiClient, namespace: str) -> set[str]:
    """The uids of the running pods."""
    return {pod["metadata"]["uid"] for pod in running(api, namespace)}


def test_a_writer_that_does_not_end_keeps_admission_in_place(both: Installed, place: ControlPlane) -> None:
    """The command fails and says what still runs; the webhook configurations stand."""
    pods = place.kubectl("get", "pods", "-n", RELEASE_NAMESPACE, "-l", "app.kubernetes.io/component=xds", "-o", "name")
    stuck = pods.split()[0]
    hold = '{"metadata":{"finalizers":["example.org/stuck"]}}'
    place.kubectl("patch", stuck, "-n", RELEASE_NAMESPACE, "--type=merge", "-p", hold)
    account, arguments = prepared(place, "pre-delete")
    try:
        done = kagenti(*arguments, "--timeout=2", kubeconfig=account)
        assert done.returncode == 3
        assert stuck.removeprefix("pod/") in done.stderr
        for kind in KINDS:
            assert "kagenti" in place.kubectl("get", kind, "-o", "name")
    finally:
        place.kubectl("patch", stuck, "-n", RELEASE_NAMESPACE, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        put_away(place, "pre-delete")


def test_helm_runs_the_hooks_itself(both: Installed, place: ControlPlane) -> None:
    """Accounts, rights and Job come and go in order, with the real helm; what the Job's command does is tested above."""
    said = helm(place, "uninstall", "kagenti", "--timeout", "60s")
    assert "uninstalled" in said
    left = place.kubectl("get", "clusterroles,clusterrolebindings", "-o", "name").split()
    left += place.kubectl("get", "jobs,serviceaccounts,roles", "-n", RELEASE_NAMESPACE, "-o", "name").split()
    assert [name for name in left if "kagenti" in name] == []


def test_a_check_says_what_a_switch_would_lose(both: Installed, place: ControlPlane, api: ApiClient) -> None:
    """Each workload with one trigger alone is named for the mode in which it would come up bare."""
    agents(api, "switches")
    own = workload("Deployment", "switches", "misplaced", own={"kagenti.io/inject": "enabled"})
    assert api.create(own).ok
    done = kagenti("check", "--before", "switch", "-o", "json", kubeconfig=place.kubeconfig)
    assert done.returncode == 1, done.stderr
    found = orjson.loads(done.stdout)["findings"]
    assert {(finding["reason"], finding["message"].split(" ")[1].rstrip(":")) for finding in found} == {
        ("LabelOnWorkload", "switches/misplaced"),
        ("OnlyLabel", "switches/misplaced"),
        ("OnlyLabel", "switches/by-label"),
        ("OnlyAgentRuntime", "switches/by-runtime"),
        ("EmptyTemplate", "triggered"),
    }
    (waiting,) = [finding["message"] for finding in found if finding["reason"] == "EmptyTemplate"]
    assert "3 triggered workloads in namespace switches" in waiting
    done = kagenti("check", "--before", "upgrade", kubeconfig=place.kubeconfig)
    assert done.returncode == 0, done.stdout


def test_images_of_the_cluster_are_listed(both: Installed, place: ControlPlane, api: ApiClient) -> None:
    """What a layer names itself is to be mirrored too."""
    layer = {"components": {"envoyProxy": {"image": "corp.example/envoy:1"}}}
    api.merge("AgentRuntimeClusterConfig", "", "default", {"spec": layer})
    done = kagenti("images", "--from-cluster", kubeconfig=place.kubeconfig)
    assert "corp.example/envoy:1" in done.stdout.split()
    api.merge("AgentRuntimeClusterConfig", "", "default", {"spec": {"components": None}})


@pytest.mark.parametrize(("account", "event"), [("kagenti-check", "test"), ("kagenti-withdraw", "pre-delete")])
def test_the_account_of_a_hook_may_do_what_its_command_does(account: str, event: str, place: ControlPlane) -> None:
    """No call outside of its rights in the runs above, whatever mode and target; and no right that none of them used."""
    documents = []
    for target in ("pods", "workloads"):
        words = ("template", "kagenti", str(without_kinds()), "-n", RELEASE_NAMESPACE, "--kube-version", KUBE_VERSION)
        documents += parsed(run_helm(*words, *values(Options(target=target))).stdout)
    hooked = [found for found in documents if (found["metadata"].get("annotations") or {}).get("helm.sh/hook") == event]
    rights, made = granted(hooked, account), list(requests(place.audit_log, user=f"{OURS}{account}"))
    assert rights
    assert told(rights - used(made, account, rights)) == []
    assert [found for found in made if found.annotations.get("authorization.k8s.io/decision") == "forbid"] == []


AGENT_RUNTIMES = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/agentruntimes.kagenti.io"
FUTURE = {"type": "string"}


class Skew:
    """A release beside CRDs of another minor version."""

    def __init__(self, installed: Installed, place: ControlPlane, api: ApiClient, namespace: str) -> None:
        self.installed, self.place, self.api, self.namespace = installed, place, api, namespace
        self.original = api.request("GET", AGENT_RUNTIMES).body["spec"]
        made = {"name": namespace, "labels": {"kagenti.io/enrolled": "true"}}
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": made})

    def restore(self) -> None:
        """Makes the CRD what it was, so that helm finds nothing to quarrel about."""
        self._put(lambda found: found.update(spec=self.original))

    @contextmanager
    def operated(self) -> Iterator[Operator]:
        """Runs the operator; its Lease is somebody's again afterwards."""
        operator = Operator(self.installed).start()
        try:
            yield operator
        finally:
            operator.stop()
            held = '{"spec":{"holderIdentity":"kagenti-operator-1"}}'
            self.place.kubectl(
                "patch", "lease", "kagenti-operator", "-n", RELEASE_NAMESPACE, "--type=merge", "-p", held
            )

    def definition(self, change: Callable[[JSON], None], *, knows: bool, **field: JSON) -> None:
        """Changes the schema of AgentRuntimes, and waits until the API server keeps that field of a spec, or prunes it."""
        self._put(lambda found: change(found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]))
        probe = runtime(self.namespace, "probe", kind="Deployment", target="probe", **field)

        def in_force() -> bool:
            answer = self.api.create(probe, dry_run=True)
            return answer.ok and (field.keys() <= answer.body["spec"].keys()) is knows

        wait_until(in_force, 10, lambda: "the API server still goes by the other schema")

    def _put(self, change: Callable[[JSON], None]) -> None:
        """Changes the CRD; again where its controllers have written its status in between."""
        answers: list[Answer] = []

        def written() -> bool:
            found = self.api.request("GET", AGENT_RUNTIMES).body
            change(found)
            answers.append(self.api.request("PUT", AGENT_RUNTIMES, found))
            return answers[-1].status != HTTPStatus.CONFLICT

        wait_until(written, 10, lambda: answers[-1].message)
        assert answers[-1].ok, answers[-1].message

    def helm(self, *arguments: str) -> None:
        """Runs helm with the webhook configurations as it made them; entries lead to the local process afterwards."""
        self.installed.withdraw()
        helm(self.place, *arguments)
        self.installed.start_registered()

    def agent(self, name: str, **spec: JSON) -> JSON:
        """Creates an AgentRuntime and its Deployment, and returns the pod."""
        for manifest in (
            runtime(self.namespace, name, kind="Deployment", target=name, **spec),
            workload("Deployment", self.namespace, name),
        ):
            made = self.api.create(manifest)
            assert made.ok, made.message
        found: list[JSON] = []

        def runs() -> bool:
            found[:] = [pod for pod in running(self.api, self.namespace) if pod["metadata"]["labels"]["app"] == name]
            return bool(found)

        wait_until(runs, 20, lambda: f"{name} does not run")
        return found[0]

    def read(self, name: str) -> JSON:
        """The AgentRuntime as it is."""
        return self.api.get("AgentRuntime", self.namespace, name).body

    def current(self, name: str) -> int:
        """How many current pods its status counts; 0 before there is one."""
        return int(((self.read(name).get("status") or {}).get("pods") or {}).get("current", 0))

    def reasons(self) -> set[str]:
        """What a check finds before an upgrade."""
        done = kagenti("check", "--before", "upgrade", "-o", "json", kubeconfig=self.place.kubeconfig)
        assert done.returncode in (0, 1), done.stderr
        return {finding["reason"] for finding in orjson.loads(done.stdout)["findings"]}


@pytest.fixture(scope="module")
def own_release(place: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """One release for the tests at the end of this file: an installation costs ten seconds."""
    installation = released(place, Options(), tmp_path_factory.mktemp("release") / "kagenti")
    yield installation
    installation.stop()
    helm(place, "uninstall", "kagenti", "--no-hooks")


@pytest.fixture
def skew(own_release: Installed, place: ControlPlane, api: ApiClient, request: pytest.FixtureRequest) -> Iterator[Skew]:
    """A release whose CRDs the test may change, and a namespace."""
    name = "newer" if "newer" in request.node.name else "older"
    found = Skew(own_release, place, api, name)
    yield found
    found.restore()
    api.request("DELETE", f"/api/v1/namespaces/{name}")


def test_crds_of_a_newer_version_survive_this_one(skew: Skew, place: ControlPlane, api: ApiClient) -> None:
    """CRDs go first, and stay where a release is rolled back: a field of theirs is kept, and hinders nobody."""

    def newer(properties: JSON) -> None:
        properties["spec"]["properties"]["future"] = FUTURE
        properties["status"]["properties"]["future"] = FUTURE

    skew.definition(newer, knows=True, future="kept")
    pods = [skew.agent("before", future="kept")]
    other = orjson.dumps({"apiVersion": "kagenti.io/v1alpha1", "kind": "AgentRuntime", "status": {"future": "theirs"},
                          "metadata": {"name": "before", "namespace": skew.namespace}}).decode()  # fmt: skip
    for manager in ("kagenti-operator", "kagenti-xds-of-another-version"):  # as their own next versions would
        place.kubectl(
            "apply", "--server-side", "--subresource=status", f"--field-manager={manager}", "-f", "-", stdin=other
        )
    with skew.operated():
        wait_until(lambda: skew.current("before") == 1, 20,
                   lambda: f"status: {skew.read('before').get('status')}")  # fmt: skip
    assert skew.read("before")["spec"]["future"] == "kept"
    assert skew.read("before")["status"]["future"] == "theirs", "another manager's field was taken away"
    assert skew.reasons() == {"UnknownField"}
    for number, words in enumerate((("upgrade", "kagenti", str(without_kinds()), *values(Options()), "--set", "image.tag=next"),
                                      ("rollback", "kagenti", "1"))):  # fmt: skip
        skew.helm(*words, "--force-conflicts")
        pods.append(skew.agent(f"after-{number}", future="kept"))
    assert [pod["metadata"]["uid"] for pod in running(api, skew.namespace)] == [
        pod["metadata"]["uid"] for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))
    ], "helm restarted somebody"
    assert all(injected(pod) for pod in pods)
    assert "future" in api.request("GET", AGENT_RUNTIMES).body["spec"]["versions"][0]["schema"]["openAPIV3Schema"][
        "properties"]["spec"]["properties"]  # fmt: skip


def test_crds_of_an_older_version_are_named_and_mended(skew: Skew, place: ControlPlane) -> None:
    """Pods are injected by what the older CRD keeps; what it prunes and refuses comes back with ``kagenti crds --apply``."""

    def older(properties: JSON) -> None:
        del properties["spec"]["properties"]["rollout"]
        del properties["status"]["properties"]["pods"]

    asked = {"stale": "Evict"}
    skew.definition(older, knows=False, rollout=asked)
    assert injected(skew.agent("agent", rollout=asked))
    assert "rollout" not in skew.read("agent")["spec"], "the older CRD knows no such field: this shows nothing"
    assert skew.reasons() == {"OldCRD"}
    with skew.operated() as operator:
        done = kagenti("crds", "--apply", kubeconfig=place.kubeconfig)
        assert done.returncode == 0, done.stderr
        wait_until(lambda: skew.current("agent") == 1, 30,
                   lambda: f"status: {skew.read('agent').get('status')}; {operator.log.read_text()[-2000:]}")  # fmt: skip
    assert skew.reasons() == set()
