"""kagenti installed on a control plane as the chart would do it, with its webhook as a local process.

What the chart renders (accounts, rights, webhook configurations) is applied as rendered; only two things differ, because
no kubelet and no service network exist here: the webhook runs as a process under the token of its rendered service
account, and the API server is pointed to it by URL. Used by the end-to-end tests, by ``make demo`` and by ``bench/``.
"""

import base64
import functools
import os
import re
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import orjson

from tests.e2e.api_client import Answer, ApiClient
from tests.e2e.charts import RELEASE_NAMESPACE, render
from tests.e2e.kinds import definitions, serve_kinds
from tests.e2e.plane.certificates import Authority, mint_authority
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.ports import free_port
from tests.e2e.plane.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
# Objects of the chart that only a kubelet or a service network could bring to life.
NOT_HERE = {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "Certificate", "Issuer"}
CONFIGURATIONS = {
    "MutatingWebhookConfiguration": "kagenti-injector",
    "ValidatingWebhookConfiguration": "kagenti-validator",
}
WEBHOOK_CONFIGURATIONS = set(CONFIGURATIONS)

# What readiness says of a leaf that cannot be compared with the live caBundle, or does not verify against it.
_BUNDLE = ("caBundle", "MutatingWebhookConfiguration")

JSON = Any  # a rendered manifest


@dataclass(frozen=True)
class Options:
    """The values of the chart that an installation is made with."""

    mode: str = "both"
    target: str = "pods"
    consistency: str = "strict"
    extra: tuple[str, ...] = field(default=())
    environment: tuple[tuple[str, str], ...] = field(default=())

    def values(self) -> list[str]:
        """Returns the ``--set`` arguments for helm."""
        pairs = [f"webhook.triggerMode={self.mode}", f"webhook.target={self.target}"]
        pairs += [f"webhook.consistency={self.consistency}", *self.extra]
        return [argument for pair in pairs for argument in ("--set", pair)]


def rendered(options: Options) -> list[JSON]:
    """Returns what the real helm renders from our chart with these options."""
    return render(*options.values())


class Webhook:
    """The process ``kagenti webhook`` with its certificate; one port for its life."""

    def __init__(
        self, plane: ControlPlane, options: Options, *, folder: Path, kubeconfig: Path, xds_ca: Path | None = None
    ) -> None:
        self.port = free_port()
        self.authority = mint_authority("kagenti webhook")
        certificate, key = self.authority.issue("kagenti-webhook", dns=["localhost"], ips=["127.0.0.1"])
        self.certificate_file, self.key_file = folder / "tls.crt", folder / "tls.key"
        self.certificate_file.write_bytes(_bytes(certificate))
        self.key_file.write_bytes(_bytes(key))
        self.log_file = folder / f"webhook-{self.port}.log"
        self._command = [sys.executable, "-m", "kagenti", "webhook"]
        self._command += ["--host", "127.0.0.1", "--port", str(self.port)]
        self._command += ["--trigger-mode", options.mode, "--target", options.target]
        self._command += ["--consistency", options.consistency, "--release-namespace", RELEASE_NAMESPACE]
        self._command += ["--tls-cert", str(self.certificate_file), "--tls-key", str(self.key_file)]
        self._command += ["--kubeconfig", str(kubeconfig), "--shutdown-grace", "0.5"]
        # As the chart does: ready once the leaf verifies against the live caBundle, which the role lets us read.
        self._command += ["--webhook-configuration", "kagenti-injector"]
        self._command += ["--xds-ca", str(xds_ca)] if xds_ca else []
        self._environment = {**os.environ, **dict(options.environment)}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the API server reaches it."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def authority_pem(self) -> bytes:
        """The CA that the API server trusts it by."""
        return _bytes(self.authority.certificate_pem)

    def start(self) -> None:
        """Starts the process and waits until it lacks nothing but being registered: ready comes with the caBundle."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment, cwd=ROOT)
        wait_until(lambda: self._ready(unregistered=True), 40, lambda: f"webhook not up: {self._logged()}")

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def wait_ready(self) -> None:
        """Waits until /readyz answers 200: caches synced, leaf verified against the live caBundle."""
        wait_until(lambda: self._ready(unregistered=False), 40, lambda: f"webhook not ready: {self._logged()}")

    def _ready(self, *, unregistered: bool) -> bool:
        """Whether /readyz names nothing that is missing, or nothing but the caBundle; raises when the process has ended."""
        if not self.alive:
            raise RuntimeError(f"the webhook ended: {self._logged()}")
        status, body = self._get("/readyz")
        missing = orjson.loads(body)["missing"] if status in (200, 503) else ["an answer"]
        return not missing or (unregistered and all(any(word in sentence for word in _BUNDLE) for sentence in missing))

    def _logged(self) -> str:
        return self.log_file.read_text()[-2000:]

    def get(self, path: str) -> str | None:
        """Returns the body of a 200 answer, else None."""
        status, body = self._get(path)
        return body if status == 200 else None

    def decisions(self, entries: str = "pods|workloads") -> float:
        """Returns how many reviews of these entries it has answered; by default the mutating ones."""
        lines = (self.get("/metrics") or "").splitlines()
        counted = [
            line for line in lines if re.match(rf'kagenti_webhook_decisions_total\{{.*entry="({entries})"', line)
        ]
        return sum(float(line.rpartition(" ")[2]) for line in counted)

    def _get(self, path: str) -> tuple[int, str]:
        """Returns status and body of a GET; status 0 where nobody answers."""
        context = ssl.create_default_context(cadata=self.authority_pem.decode())
        try:
            with urllib.request.urlopen(self.url + path, context=context, timeout=10) as answer:  # noqa: S310  # loopback
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()
        except (urllib.error.URLError, OSError):
            return 0, ""

    def stop(self) -> None:
        """Ends the process by its pid, gently first."""
        if self.process is None or not self.alive:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


@functools.cache
def xds_authority() -> Authority:
    """The xDS server's CA: it stands in every injected pod, and does not change with the values of the chart."""
    return mint_authority("kagenti xds")


class Installed:
    """One installation: what the chart renders on the plane, and the running webhook."""

    def __init__(
        self,
        plane: ControlPlane,
        options: Options,
        *,
        folder: Path,
        through: Callable[[Path, Path], Path] | None = None,
    ) -> None:
        """``through`` may give the webhook another kubeconfig, for instance one that goes through a proxy."""
        self.plane, self.options, self.folder = plane, options, folder
        self._api = ApiClient(plane)
        folder.mkdir(parents=True, exist_ok=True)
        self.documents = rendered(options)
        self._apply_accounts()
        kubeconfig = Path(plane.service_account_kubeconfig(RELEASE_NAMESPACE, "kagenti-webhook"))
        kubeconfig = through(kubeconfig, folder) if through else kubeconfig
        self.xds_authority = xds_authority()
        xds_ca = folder / "xds-ca.crt"
        xds_ca.write_bytes(_bytes(self.xds_authority.certificate_pem))
        self.webhook = Webhook(plane, options, folder=folder, kubeconfig=kubeconfig, xds_ca=xds_ca)
        self._began_with: object = None

    def _apply(self, manifests: list[JSON]) -> None:
        text = orjson.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}).decode()
        self.plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def _apply_accounts(self) -> None:
        """Applies everything rendered but the webhook configurations, where another installation's was applied last."""
        serve_kinds(self.plane)
        _make_namespace(self._api, RELEASE_NAMESPACE)
        documents = [found for found in self.documents if found["kind"] not in NOT_HERE | WEBHOOK_CONFIGURATIONS]
        if _accounts.get(self.plane) != documents:
            self._apply(documents)
            _accounts[self.plane] = documents

    def configurations(self) -> list[JSON]:
        """Returns the rendered webhook configurations, pointed to the local process."""
        found = []
        for document in self.documents:
            if document["kind"] not in WEBHOOK_CONFIGURATIONS:
                continue
            copy = orjson.loads(orjson.dumps(document))
            for entry in copy["webhooks"]:
                path = entry["clientConfig"]["service"]["path"]
                bundle = base64.b64encode(self.webhook.authority_pem).decode()
                entry["clientConfig"] = {"url": self.webhook.url + path, "caBundle": bundle}
            found.append(copy)
        return found

    def start(self) -> None:
        """Starts the webhook, registers it, and waits until the API server calls this very process."""
        self._began_with = self._watched()
        self.webhook.start()
        self.start_registered()

    def resume(self) -> None:
        """Has the API server call this very process again, if another was registered since, or this one is not up to date."""
        if not self.webhook.alive or self._began_with != self._watched():
            self.webhook.stop()
            self._apply_accounts()
            self.start()
        elif not self._registered():
            self._apply_accounts()
            self.start_registered()

    def _watched(self) -> object:
        """What broke watches would have broken: the lives of the API server, and the definitions of our kinds.

        A webhook that has seen either change asks again within half a minute; until then it misses new configs.
        """
        return len(self.plane.warming), definitions(self._api)

    def _registered(self) -> bool:
        """Whether both configurations lead to this very process."""
        found = [self._api.get(kind, "", name).body for kind, name in CONFIGURATIONS.items()]
        urls = [entry["clientConfig"].get("url", "") for one in found for entry in one.get("webhooks") or ()]
        return all("webhooks" in one for one in found) and all(url.startswith(f"{self.webhook.url}/") for url in urls)

    def start_registered(self) -> None:
        """Registers the running webhook and waits until the API server calls this very process."""
        self._api.request("DELETE", self._api.path("ValidatingWebhookConfiguration"))  # whoever's are left
        for configuration in self.configurations():
            self._register(configuration)
        self.webhook.wait_ready()
        _make_namespace(self._api, PROBE_NAMESPACE, {"kagenti.io/enrolled": "true"})
        wait_until(self._called, 30, lambda: "the API server does not call the webhook")
        wait_until(self._validates, 30, lambda: "the API server does not have the webhook validate")

    def _register(self, configuration: JSON) -> None:
        """Creates a configuration, or puts it in the place of another: no pod is made between the two."""
        answers: list[Answer] = []

        def registered() -> bool:
            answers[:] = [self._put(configuration)]
            return answers[0].status != HTTPStatus.CONFLICT  # an operator wrote its owner between the two requests

        wait_until(registered, 10, lambda: answers[0].message)
        assert answers[0].ok, answers[0].message

    def _put(self, configuration: JSON) -> Answer:
        """Writes a configuration over what is there."""
        kind, metadata = configuration["kind"], configuration["metadata"]
        there = self._api.get(kind, "", metadata["name"])
        if not there.ok:
            return self._api.create(configuration)
        version = there.body["metadata"]["resourceVersion"]
        changed = {**configuration, "metadata": {**metadata, "resourceVersion": version}}
        return self._api.request("PUT", self._api.path(kind, name=metadata["name"]), changed)

    def _called(self) -> bool:
        """Whether a dry run reaches this very process, not one that was registered before: it counts one more answer."""
        before = self.webhook.decisions()
        self._api.create(PROBE_DEPLOYMENT if self.options.target == "workloads" else PROBE_POD, dry_run=True)
        return self.webhook.decisions() > before

    def _validates(self) -> bool:
        """Whether a dry run is validated by this very process: the API server learns of either configuration by itself."""
        before = self.webhook.decisions("validate")
        self._api.create(PROBE_CONFIG, dry_run=True)
        return self.webhook.decisions("validate") > before

    def withdraw(self) -> None:
        """Removes the webhook configurations; the process runs on."""
        self._api.delete("MutatingWebhookConfiguration", "", "kagenti-injector")
        self._api.request("DELETE", self._api.path("ValidatingWebhookConfiguration"))  # all of them

    def stop(self) -> None:
        """Removes the webhook configurations, then ends the process."""
        self.withdraw()
        self.webhook.stop()


def _make_namespace(api: ApiClient, name: str, labels: dict[str, str] | None = None) -> None:
    """Makes a namespace unless it is there."""
    answer = api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}})
    assert answer.ok or answer.status == HTTPStatus.CONFLICT, answer.message


_accounts: WeakKeyDictionary[ControlPlane, list[JSON]] = WeakKeyDictionary()
"""What was applied to a plane last."""


PROBE_NAMESPACE = "kagenti-probe"
_TEMPLATE = {"spec": {"containers": [{"name": "probe", "image": "probe"}]}}
_ODD = {"kagenti.io/inject": "probe"}
PROBE_CONFIG = {
    "apiVersion": "kagenti.io/v1alpha1",
    "kind": "AgentRuntimeConfig",
    "metadata": {"name": "default", "namespace": PROBE_NAMESPACE},
    "spec": {},
}
PROBE_POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "probe", "namespace": PROBE_NAMESPACE, "labels": _ODD},
    **_TEMPLATE,
}
PROBE_DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "probe", "namespace": PROBE_NAMESPACE},
    "spec": {
        "selector": {"matchLabels": {"app": "probe"}},
        "template": {"metadata": {"labels": {"app": "probe", **_ODD}}, **_TEMPLATE},
    },
}


@contextmanager
def installed(plane: ControlPlane, options: Options, *, folder: Path) -> Iterator[Installed]:
    """Installs kagenti on the plane for the length of a with block."""
    installation = Installed(plane, options, folder=folder)
    try:
        installation.start()
        yield installation
    finally:
        installation.stop()
