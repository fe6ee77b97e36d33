"""Namespaces of a tenant, accounts with the default roles in them, and what the platform's layers hold against them."""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.admission.effects import eventually, stored
from tests.e2e.admission.manifests import pod, runtime
from tests.e2e.admission.observed import injected
from tests.e2e.api_client import Answer, ApiClient
from tests.e2e.installed import Installed
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received

TEAM, STRICT, PLAIN, OTHER = "team", "team-mandatory", "team-plain", "other-team"
ENROLLED = {"kagenti.io/enrolled": "true"}
NAMESPACES = {TEAM: ENROLLED, STRICT: ENROLLED, PLAIN: {}, OTHER: ENROLLED}
"""The tenant's own three, the second under Mandatory and the third not enrolled, and somebody else's."""
ADMIN, EDIT, DEBUG, SPACES = "admin", "edit", "debug", "spaces"
ACCOUNTS = {
    ADMIN: "`admin`",
    EDIT: "`edit`",
    DEBUG: "`edit` with a role for debugging (`pods/ephemeralcontainers`, `pods/status`)",
    SPACES: "`edit` with the right to write namespaces",
}
IDP, PARTNER, EVIL = "https://idp.example", "https://partner.example", "https://evil.example"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
_KEYCLOAK = {"url": IDP, "realm": "prod", "adminCredentialsSecret": "platform-admin"}
LAYER = {
    "identity": {"clientRegistration": {"keycloak": _KEYCLOAK}, "outbound": {"defaultPolicy": "Deny"}},
    "trace": {"sampling": {"rate": 0.25}},
    "policy": {
        "locked": ["trace.sampling", "identity.outbound.defaultPolicy"],
        "identityProviders": [f"{IDP}/realms/prod", PARTNER],
        "namespaces": [{"names": [STRICT], "injection": "Mandatory", "exempt": [
            {"serviceAccount": "batch"}, {"apiVersion": "apps/v1", "kind": "Deployment", "name": "legacy"},
        ]}],
    },
}  # fmt: skip
"""The platform's: an identity provider, a list of those that lower layers may name, locks, Mandatory with exemptions."""


@dataclass
class Tenancy:
    """The tenant's accounts, each a client of its own; ``platform`` is the administrator."""

    plane: ControlPlane
    platform: ApiClient
    installation: Installed
    clients: dict[str, ApiClient] = field(default_factory=dict)
    running: JSON = None
    _numbers: Any = field(default_factory=lambda: itertools.count(1))  # Any: an endless iterator

    def begin(self) -> None:
        """Makes namespaces, accounts, the platform's layer and a running agent; returns when all is in force."""
        for name, labels in NAMESPACES.items():
            made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
            assert self.platform.create(made).ok
        self._bind()
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "batch"}}
        assert self.platform.request("POST", f"/api/v1/namespaces/{STRICT}/serviceaccounts", account).ok
        layer = {
            "apiVersion": "kagenti.io/v1alpha1",
            "kind": "AgentRuntimeClusterConfig",
            "metadata": {"name": "default"},
        }
        assert self.platform.create({**layer, "spec": LAYER}).ok
        stored(self.platform, pod(TEAM, "weather", label="enabled"))
        eventually(self.platform, pod(STRICT, "probe"), lambda found: found.ok and injected(found.body), "not in force")
        wait_until(self._agent_runs, 60, lambda: "the agent does not run")

    def _bind(self) -> None:
        resources = ["pods/ephemeralcontainers", "pods/status"]
        self._grant(DEBUG, [{"apiGroups": [""], "resources": resources, "verbs": ["get", "patch", "update"]}])
        self._grant(SPACES, [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "patch", "create"]}])
        for name in ACCOUNTS:
            for namespace in (TEAM, STRICT, PLAIN):
                self._binding(name, ADMIN if name == ADMIN else EDIT, namespace)
            self.plane.user_kubeconfig(f"tenant-{name}")
            folder = self.plane.folder
            self.clients[name] = ApiClient(self.plane, (folder / f"tenant-{name}.crt", folder / f"tenant-{name}.key"))
        may = (("AgentRuntime", TEAM), ("AgentCard", STRICT))
        for client in self.clients.values():
            wait_until(
                lambda client=client: all(client.request("GET", client.path(*where)).ok for where in may),
                30,
                lambda: "the roles are not aggregated",
            )

    def _grant(self, account: str, rules: JSON) -> None:
        role = {"kind": "ClusterRole", "metadata": {"name": f"tenant-{account}"}, "rules": rules}
        assert self.platform.request("POST", f"{RBAC}/clusterroles", role).ok
        self._binding(account, f"tenant-{account}", "")

    def _binding(self, account: str, role: str, namespace: str) -> None:
        made = binding(f"tenant-{account}-{role}", role, f"tenant-{account}", cluster=not namespace)
        path = f"{RBAC}/namespaces/{namespace}/rolebindings" if namespace else f"{RBAC}/clusterrolebindings"
        answer = self.platform.request("POST", path, made)
        assert answer.ok, answer.message

    def _agent_runs(self) -> bool:
        self.running = self.platform.get("Pod", TEAM, "weather").body
        return bool(self.running["status"].get("phase") == "Running")

    def end(self) -> None:
        """Removes what it made."""
        for name in NAMESPACES:
            self.platform.request("DELETE", f"/api/v1/namespaces/{name}")
        self.platform.delete("AgentRuntimeClusterConfig", "", "default")
        for name in (DEBUG, SPACES):
            self.platform.request("DELETE", f"{RBAC}/clusterroles/tenant-{name}")
            self.platform.request("DELETE", f"{RBAC}/clusterrolebindings/tenant-{name}-tenant-{name}")
        for client in self.clients.values():
            client.close()

    def name(self) -> str:
        """Returns a name that nothing had before: what no cache knows is read afresh (spec 03, Freshness)."""
        return f"weather-{next(self._numbers)}"

    def pod_under(self, account: str, settings: JSON, *, namespace: str = TEAM, **details: JSON) -> Answer:
        """Stores an AgentRuntime with these settings as that account; returns what becomes of its pod, by dry run.

        A write that is refused is the answer.
        """
        client, name = self.clients[account], self.name()
        answer = client.create(runtime(namespace, name, kind="Pod", target=name, **settings))
        if answer.ok:
            answer = client.create(pod(namespace, name, **details), dry_run=True)
            client.delete("AgentRuntime", namespace, name)
        return answer

    def pod(self, account: str, *, namespace: str = TEAM, annotations: JSON = None, **details: JSON) -> Answer:
        """Creates a pod by dry run."""
        made = pod(namespace, self.name(), **details)
        made["metadata"]["annotations"] = annotations or {}
        return self.clients[account].create(made, dry_run=True)

    def change(self, account: str, patch: JSON, *, subresource: str = "") -> Answer:
        """Changes the running agent by dry run."""
        path = f"/api/v1/namespaces/{TEAM}/pods/weather" + (f"/{subresource}" if subresource else "")
        return self.clients[account].request("PATCH", path, patch, dryRun="All")

    def debugger(self, account: str, **fields: JSON) -> Answer:
        """Adds a debug container to the running agent by dry run."""
        made = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox", **fields}]}}
        return self.change(account, made, subresource="ephemeralcontainers")

    def may(self, account: str, verb: str, resource: str, *, subresource: str = "", namespace: str = TEAM) -> Answer:
        """Returns what the authorizer says, as an answer: for what only a kubelet could carry out."""
        asked = {"namespace": namespace, "verb": verb, "resource": resource, "subresource": subresource}
        review = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
                  "spec": {"resourceAttributes": asked}}  # fmt: skip
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = self.clients[account].request("POST", path, review)
        return answer if answer.body["status"]["allowed"] else Answer(403, {"message": "User has no such right"}, ())


def binding(name: str, role: str, user: str, *, cluster: bool = False) -> JSON:
    """A RoleBinding of a ClusterRole to a user, or a ClusterRoleBinding."""
    return {
        "kind": "ClusterRoleBinding" if cluster else "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
    }


_DENIED = re.compile(r'admission webhook "([^"]+)" denied the request: ')
_POLICY = re.compile(r"ValidatingAdmissionPolicy '([^']+)' with binding '[^']+' denied request: ")


def refuser(answer: Answer) -> str:
    """Returns who refused, by the API server's own words; empty where nobody did."""
    if answer.ok:
        return ""
    if answer.status == 401:  # of no API server here: its accounts are all known to it
        return "xDS server"
    if found := _DENIED.search(answer.message):
        return f"webhook `{found[1]}`"
    if found := _POLICY.search(answer.message):
        return f"policy `{found[1]}`"
    return "RBAC" if "User " in answer.message or "user " in answer.message else "API server"


def words(answer: Answer) -> str:
    """Returns a refusal in its own words, without who said it and without names that differ from run to run."""
    text = answer.message
    for pattern in (_DENIED, _POLICY):
        if found := pattern.search(text):
            text = text[found.end() :]
    text = re.sub(r'(User|user) "tenant-[a-z]+"(?: \(groups=\[[^\]]*\]\))?', r"\1 …", text)
    return re.sub(r"weather-\d+", "weather", text)


Attempt = Callable[[Tenancy, str], Answer]


@dataclass(frozen=True)
class Row:
    """One attempt by each of some accounts.

    ``by`` refuses it, saying ``says``; where ``by`` is empty it is allowed, and ``why`` tells why that harms nobody: what can
    be shown of it the attempt itself has asserted.
    """

    attempt: str
    run: Attempt
    by: str = ""
    says: tuple[str, ...] = ()
    why: str = ""
    accounts: tuple[str, ...] = (ADMIN, EDIT)
