"""What stands around the pods of the demo: the node's address, an identity provider, a tool, and a host that nobody lists."""

import os
import shutil
import threading
from contextlib import ExitStack
from http.server import ThreadingHTTPServer
from typing import Self

from scripts.demo.layers import BY_LABEL, BY_RUNTIME, NAMESPACE, REALM, client_id
from tests.e2e.pod_runner import Node, permitted
from tests.e2e.pod_runner.app import Handler
from tests.oidc import Client, Oidc

TOOL, UNLISTED = f"weather-tool.{NAMESPACE}.svc", f"somebody-else.{NAMESPACE}.svc"
TOOL_AUDIENCE, TOOL_SCOPE = "weather-tool", "tool"
SECRET = "demo-only"  # noqa: S105  # of a provider that lives as long as the demo


def unfit() -> str:
    """Returns why no pod can be run here, or an empty text."""
    return permitted() or ("" if shutil.which("curl") else "curl missing; apt-get install curl")


class _Echo(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


class Neighbours:
    """Started and stopped together; a context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # An address of this run alone, at which no pod ever is: two demos, or a demo beside the tests, do not meet.
            self.address = stack.enter_context(Node(f"10.209.254.{1 + os.getpid() % 250}")).address
            clients = [
                Client(client_id(name), secret=SECRET, scopes={TOOL_SCOPE: TOOL_AUDIENCE})
                for name in (BY_LABEL, BY_RUNTIME)
            ]
            self.idp = stack.enter_context(Oidc(*clients, realm=REALM, audiences=(TOOL_AUDIENCE,), host=self.address))
            self.ports = {name: self._echo(stack) for name in (TOOL, UNLISTED)}
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _echo(self, stack: ExitStack) -> int:
        """Starts a server that answers with what reached it; returns its port."""
        server = stack.enter_context(_Echo((self.address, 0), Handler))
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        stack.callback(server.shutdown)
        return int(server.server_address[1])

    @property
    def names(self) -> dict[str, str]:
        """Host names that pods resolve."""
        return dict.fromkeys(self.ports, self.address)

    def url(self, name: str) -> str:
        """Returns the URL of the tool, or of the host that nobody lists."""
        return f"http://{name}:{self.ports[name]}/"
