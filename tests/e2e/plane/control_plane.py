"""etcd, kube-apiserver, kube-controller-manager, kube-scheduler and KWOK on loopback, up in a few seconds."""

import http.client
import json
import shutil
import ssl
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.e2e.plane.access import Access
from tests.e2e.plane.binaries import find
from tests.e2e.plane.certificates import mint_authority
from tests.e2e.plane.ports import free_port
from tests.e2e.plane.processes import Process
from tests.e2e.plane.waiting import wait_until

HERE = Path(__file__).resolve().parent
JSON = Any  # a kubeconfig or manifest
NODES = ("node-1", "node-2")
IN_CLUSTER = "https://kubernetes.default.svc"
_BUSY = ["--kube-api-qps=500", "--kube-api-burst=1000"]  # the default makes about 20 pods a second
_ALIVE = 2.0  # seconds an HTTP look may take


class ControlPlane(Access):
    """One control plane; a context manager that leaves nothing behind.

    Args:
        own_issuer: Service-account tokens name this very server as their issuer, as on a cluster whose issuer others can
            reach: the discovery document is where the name says.
        controllers: False is etcd and the API server alone, for tests in which no pod has to run.
    """

    def __init__(self, *, own_issuer: bool = False, controllers: bool = True) -> None:
        self.binaries = find()
        self.folder = Path(tempfile.mkdtemp(prefix="kagenti-plane-"))
        ports = [free_port() for _ in range(5)]
        self._api_port, self._etcd_port, self._peer_port, self._manager_port, self._scheduler_port = ports
        self.server = f"https://127.0.0.1:{self._api_port}"
        self.issuer = self.server if own_issuer else IN_CLUSTER
        self._controllers = controllers
        self.audit_log = self.folder / "audit.log"
        self.kubeconfig = self.folder / "admin.kubeconfig"
        self.ca_file, self.admin_cert, self.admin_key = (
            self.folder / name for name in ("ca.crt", "admin.crt", "admin.key")
        )
        self._processes: dict[str, Process] = {}
        self.timings: dict[str, float] = {}
        self.warming: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts everything; returns when pods can be created and, with controllers, will run."""
        begin = time.monotonic()
        self._write_credentials()
        self._start_etcd()
        self.start_api_server()
        self.timings["API server ready"] = time.monotonic() - begin
        if self._controllers:
            self._start_controllers()
            self._make_nodes()
            wait_until(self._usable, 60, lambda: "no default service account, or no node Ready")
            self.timings["whole plane"] = time.monotonic() - begin

    def stop(self) -> None:
        """Ends the processes by pid, last started first, and removes the folder."""
        for process in reversed(self._processes.values()):
            process.stop(subprocess.Popen.kill)
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- credentials -------------------------------------------------------------------------------------------------

    def _write_credentials(self) -> None:
        self._authority = mint_authority("kagenti test plane")
        self.ca_file.write_bytes(self._authority.certificate_pem)
        self._leaf(
            "apiserver", "kube-apiserver", dns=["localhost", "kubernetes.default.svc"], ips=["127.0.0.1", "10.0.0.1"]
        )
        self._leaf("admin", "kubernetes-admin", organizations=["system:masters"])
        self._service_account_keys()
        for user in ("system:kube-controller-manager", "system:kube-scheduler"):
            self.user_kubeconfig(user)
        self.user_kubeconfig("system:kwok", groups=["system:masters"])
        self.write_kubeconfig(self.kubeconfig, cert=self.admin_cert, key=self.admin_key)

    def _leaf(self, stem: str, cn: str, **names: list[str]) -> tuple[Path, Path]:
        certificate, key = self._authority.issue(cn, **names)  # type: ignore[arg-type]  # names are issue's own keywords
        paths = (self.folder / f"{stem}.crt", self.folder / f"{stem}.key")
        for path, content in zip(paths, (certificate, key), strict=True):
            path.write_bytes(content)
        return paths

    def _service_account_keys(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (self.folder / "sa.key").write_bytes(private)
        (self.folder / "sa.pub").write_bytes(public)

    def user_kubeconfig(self, name: str, groups: list[str] | None = None) -> Path:
        """Returns a kubeconfig that is that user, by client certificate."""
        stem = name.replace(":", "-")
        certificate, key = self._leaf(stem, name, organizations=list(groups or ()))
        return self.write_kubeconfig(self.folder / f"{stem}.kubeconfig", cert=certificate, key=key)

    # --- processes ---------------------------------------------------------------------------------------------------

    def _run(self, name: str, *arguments: str) -> None:
        command = [self.binaries[name], *arguments]
        self._processes[name] = Process(name, command, log=self.folder / f"{name}.log")

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        arguments = ["--data-dir", str(self.folder / "etcd"), "--unsafe-no-fsync", "--log-level=warn"]
        arguments += [f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
        arguments += [
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ]
        self._run("etcd", *arguments)

    def start_api_server(self) -> None:
        """Starts the API server and waits until it is ready and knows its roles.

        ``warming`` keeps the seconds since the epoch between which it answered 403 to whoever came back early: its RBAC
        caches fill only after it has begun to serve.
        """
        f, begin = self.folder, time.time()
        self._run(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self._api_port}",
            f"--tls-cert-file={f / 'apiserver.crt'}",
            f"--tls-private-key-file={f / 'apiserver.key'}",
            f"--client-ca-file={self.ca_file}",
            "--authorization-mode=Node,RBAC",
            f"--service-account-key-file={f / 'sa.pub'}",
            f"--service-account-signing-key-file={f / 'sa.key'}",
            f"--service-account-issuer={self.issuer}",
            "--service-cluster-ip-range=10.0.0.0/16",
            "--endpoint-reconciler-type=none",
            "--allow-privileged=true",
            "--max-requests-inflight=3000",
            "--max-mutating-requests-inflight=1500",
            f"--audit-policy-file={HERE / 'audit-policy.yaml'}",
            f"--audit-log-path={self.audit_log}",
            "--audit-log-mode=blocking",
            "--audit-log-maxsize=1000",  # megabytes; turned over at 100, as is the default, it would lose what tests look for
            f"--cert-dir={f / 'certs'}",
        )
        wait_until(self._api_ready, 60, self._processes["kube-apiserver"].tail)
        wait_until(self._roles_known, 60, lambda: "RBAC does not let the scheduler list pods")
        self.warming.append((begin, time.time()))

    def _roles_known(self) -> bool:
        command = [str(self.binaries.kubectl), "--kubeconfig", str(self.kubeconfig)]
        command += ["auth", "can-i", "list", "pods", "--all-namespaces", "--as=system:kube-scheduler", "--quiet"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def stop_api_server(self) -> None:
        """Ends the API server; ``start_api_server`` brings it back with the same data."""
        self._processes.pop("kube-apiserver").stop()

    def restart_api_server(self) -> None:
        """Ends the API server and starts it again."""
        self.stop_api_server()
        self.start_api_server()

    def _start_controllers(self) -> None:
        f = self.folder
        manager = f / "system-kube-controller-manager.kubeconfig"
        arguments = [f"--kubeconfig={manager}", f"--service-account-private-key-file={f / 'sa.key'}"]
        arguments += [
            f"--root-ca-file={self.ca_file}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
        ]
        arguments += [
            f"--secure-port={self._manager_port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={f / 'certs'}",
            *_BUSY,
        ]
        self._run("kube-controller-manager", *arguments)
        arguments = [f"--kubeconfig={f / 'system-kube-scheduler.kubeconfig'}", "--leader-elect=false"]
        arguments += [
            f"--secure-port={self._scheduler_port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={f / 'certs'}",
            *_BUSY,
        ]
        self._run("kube-scheduler", *arguments)
        kwok = [
            f"--kubeconfig={f / 'system-kwok.kubeconfig'}",
            f"--config={HERE / 'stages.yaml'}",
            "--manage-all-nodes=true",
        ]
        self._run("kwok", *kwok, "--node-lease-duration-seconds=40", "--cidr=10.64.0.0/16", "--node-ip=10.32.0.1")

    def _make_nodes(self) -> None:
        nodes = [
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}}
            for name in NODES
        ]
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes})
        self.kubectl("create", "-f", "-", stdin=text)

    def _usable(self) -> bool:
        for process in self._processes.values():
            process.check()
        account = self._look("/api/v1/namespaces/default/serviceaccounts/default")
        nodes = json.loads(self._look("/api/v1/nodes") or "{}").get("items") or []
        ready = [
            node
            for node in nodes
            if any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions") or ())
        ]
        tainted = [node for node in nodes if node["spec"].get("taints")]
        return account is not None and len(ready) == len(NODES) and not tainted

    # --- use ---------------------------------------------------------------------------------------------------------

    def _api_ready(self) -> bool:
        self._processes["etcd"].check()
        self._processes["kube-apiserver"].check()
        return self._look("/readyz") is not None

    def _look(self, path: str) -> str | None:
        """Returns the body of a 200 answer, else None."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.load_cert_chain(str(self.admin_cert), str(self.admin_key))
        connection = http.client.HTTPSConnection("127.0.0.1", self._api_port, context=context, timeout=_ALIVE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return text if answer.status == http.client.OK else None
