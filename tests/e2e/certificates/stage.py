"""Kagenti with certificates.mode selfManaged as the chart renders it: a Service of two webhook replicas, and an operator.

Three things stand in for what is not here: the Service leads by name to a balancer on loopback, a thread mounts Secrets as a
kubelet does, and the test plays the Deployment.
"""

import base64
import hashlib
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from kagenti.core.certificates import Held, bundle_of, held
from tests.e2e.api_client import ApiClient
from tests.e2e.certificates.balancer import Balancer
from tests.e2e.certificates.mounts import Mount
from tests.e2e.installed import RELEASE_NAMESPACE, WEBHOOK_CONFIGURATIONS, Installed, Options, rendered
from tests.e2e.operator_process import Operator
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.ports import free_port
from tests.e2e.plane.processes import Process
from tests.e2e.plane.waiting import wait_until

JSON = Any  # Kubernetes objects

HOST = f"kagenti-webhook.{RELEASE_NAMESPACE}.svc"
OPTIONS = Options(extra=("certificates.mode=selfManaged",))
SECRETS = ("kagenti-webhook-ca", "kagenti-webhook-tls", "kagenti-xds-ca", "kagenti-xds-tls")
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
INJECTOR = f"{ADMISSION}/mutatingwebhookconfigurations/kagenti-injector"
VALIDATOR = f"{ADMISSION}/validatingwebhookconfigurations/kagenti-validator"
OVERLAP = 2.0
"""Seconds that a new CA is published before it signs; a minute in the chart."""
LAG = 1.0
"""Seconds by which mounted Secrets are behind; the replicas differ by as much again."""
GRACE = 2.0
"""Seconds that a replica serves on after SIGTERM: several looks of the balancer, as five are of a kubelet."""


class Replica:
    """One pod of the webhook: its mounts and its process."""

    def __init__(self, stage: "Stage", number: int) -> None:
        self.port, self.number = free_port(), number
        folder = stage.folder / f"webhook-{number}"
        self.mounts = [
            Mount(
                stage.plane,
                namespace=RELEASE_NAMESPACE,
                secret=secret,
                folder=folder / secret,
                lag=LAG * (1 + number % 2),
            )
            for secret in ("kagenti-webhook-tls", "kagenti-xds-tls")
        ]
        pair, xds = (mount.folder for mount in self.mounts)
        kubeconfig = stage.plane.service_account_kubeconfig(RELEASE_NAMESPACE, "kagenti-webhook")
        self._command = [sys.executable, "-m", "kagenti", "webhook", "--host", "127.0.0.1", "--port", str(self.port)]
        self._command += ["--tls-cert", str(pair / "tls.crt"), "--tls-key", str(pair / "tls.key")]
        self._command += ["--xds-ca", str(xds / "ca.crt"), "--webhook-configuration", "kagenti-injector"]
        self._command += ["--release-namespace", RELEASE_NAMESPACE, "--kubeconfig", str(kubeconfig)]
        self._command += ["--shutdown-grace", str(GRACE)]
        self._log, self.process = folder / "log", None

    def start(self) -> None:
        """Starts the container once its Secrets are mounted."""
        wait_until(lambda: all(mount.mounted for mount in self.mounts), 20, lambda: "the Secrets do not exist")
        self.process: Process | None = Process(f"webhook {self.number}", self._command, log=self._log)

    def served(self) -> str:
        """Returns the fingerprint of the leaf that a new connection gets."""
        pem = ssl.get_server_certificate(("127.0.0.1", self.port), timeout=2)
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()

    def stop(self) -> None:
        """SIGTERM, and waits for the end: as long as a kubelet does, for what is killed loses the pods it is asked about."""
        if self.process is not None:
            self.process.stop(_politely)


def _politely(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)


class Stage:
    """The installation; a context manager that leaves the plane as it was."""

    def __init__(self, plane: ControlPlane, folder: Path, before: Installed) -> None:
        """``before`` is what other tests have installed on this plane, and find again afterwards."""
        self.plane, self.folder, self.before = plane, folder, before
        self.api, self.documents = ApiClient(plane), rendered(OPTIONS)
        self.replicas: list[Replica] = []
        self._numbers = 0
        self._stack = ExitStack()

    def __enter__(self) -> "Stage":
        self.balancer = self._stack.enter_context(Balancer(lambda: [replica.port for replica in self.replicas]))
        self._forget()
        self._apply([document for document in self.documents if "certificates" in document["metadata"]["name"]])
        service = {"type": "ExternalName", "externalName": "localhost"}
        metadata = {"name": "kagenti-webhook", "namespace": RELEASE_NAMESPACE}
        self._apply([{"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service}])
        return self

    def __exit__(self, *_: object) -> None:
        for replica in self.replicas:
            replica.stop()
        self._stack.close()
        self._forget()
        self.plane.kubectl("delete", "service", "kagenti-webhook", "-n", RELEASE_NAMESPACE, "--ignore-not-found")
        for kind in ("role", "rolebinding", "clusterrole"):
            scope = () if kind == "clusterrole" else ("-n", RELEASE_NAMESPACE)
            self.plane.kubectl("delete", kind, "kagenti-operator-certificates", "--ignore-not-found", *scope)
        self.api.close()
        self.before.start_registered()

    def _forget(self) -> None:
        for path in (INJECTOR, VALIDATOR, *(self.path(secret) for secret in SECRETS)):
            self.api.request("DELETE", path)

    def _apply(self, documents: list[JSON]) -> None:
        text = orjson.dumps({"apiVersion": "v1", "kind": "List", "items": documents}).decode()
        self.plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    @staticmethod
    def path(secret: str) -> str:
        """Returns where a Secret is."""
        return f"/api/v1/namespaces/{RELEASE_NAMESPACE}/secrets/{secret}"

    def injector(self) -> JSON:
        """Returns the mutating webhook configuration."""
        return self.api.request("GET", INJECTOR).body

    def register(self, *, mode: str = "both", bundle: bytes = b"") -> None:
        """Applies the webhook configurations as rendered, to the balancer's port; ``bundle`` is an older caBundle."""
        rendering = self.documents if mode == "both" else rendered(replace(OPTIONS, mode=mode))
        documents = [document for document in rendering if document["kind"] in WEBHOOK_CONFIGURATIONS]
        for document in documents:
            for entry in document["webhooks"]:
                entry["clientConfig"]["service"]["port"] = self.balancer.port
        self._apply(documents)
        if not bundle:
            return
        text = base64.b64encode(bundle).decode()
        for path, document in zip((INJECTOR, VALIDATOR), documents, strict=True):
            patch = [
                {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": text}
                for index in range(len(document["webhooks"]))
            ]
            self.plane.kubectl("patch", *path.rsplit("/", 2)[1:], "--type=json", "-p", orjson.dumps(patch).decode())

    def install(self) -> None:
        """Has an operator make what is missing, as a test finds it that runs alone."""
        if self.injector().get("webhooks") and self.material("xds").leaf and bundle_of(self.injector()):
            return
        self.register()
        with self.operator():
            self.until(lambda: self.material("xds").leaf, 15, "no certificate for the xDS server")

    @contextmanager
    def operator(self) -> Iterator[Operator]:
        """Runs an operator that manages the certificates, leading."""
        account = f"--as=system:serviceaccount:{RELEASE_NAMESPACE}:kagenti-operator"
        wait_until(lambda: self._may("patch", account), 20, lambda: "the role kagenti-operator is not aggregated")
        flags = ("--manage-certificates", "--ca-overlap", str(OVERLAP))
        # Long, for the load beside it may delay a renewal; whoever led before has given it back.
        operator = Operator(self.before, f"certificates-{self._number()}", lease_seconds=15, extra=flags)
        try:
            yield operator.start()
        finally:
            operator.stop()

    def fleet(self) -> None:
        """Has two replicas run."""
        while len(self.replicas) < 2:
            self.replica()

    def _may(self, verb: str, account: str) -> bool:
        what = "/".join(VALIDATOR.rsplit("/", 2)[1:])
        try:
            self.plane.kubectl("auth", "can-i", verb, what, account, "--quiet")
        except RuntimeError:
            return False
        return True

    def replica(self) -> Replica:
        """Starts one replica of the webhook; waits until the balancer sends to it."""
        replica = Replica(self, self._number())
        for mount in replica.mounts:
            self._stack.enter_context(mount)
        self.replicas.append(replica)
        replica.start()
        assert replica.process is not None
        wait_until(lambda: replica.port in self.balancer.ready, 30, replica.process.tail)
        return replica

    def retire(self, replica: Replica) -> None:
        """Ends a replica as a Deployment does: SIGTERM while it is still sent to."""
        replica.stop()
        self.replicas.remove(replica)

    def material(self, what: str) -> Held:
        """Returns what the Secrets of ``webhook`` or ``xds`` hold."""
        answers = [self.api.request("GET", self.path(f"kagenti-{what}-{which}")) for which in ("ca", "tls")]
        return held(*(answer.body if answer.ok else None for answer in answers))

    def until(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Waits for a condition; ``what`` says what has not come."""
        wait_until(condition, seconds, lambda: f"{what}: {self.material('webhook')}")

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers
