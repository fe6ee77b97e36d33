"""Rows of the truth table of spec 03: what is there, what must come of it, and how one is observed at the API server."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.admission.manifests import config
from tests.e2e.admission.observed import Verdict, verdicts
from tests.e2e.api_client import Answer, ApiClient
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received

MANDATORY = {"policy": {"injection": "Mandatory"}}
WINDOWS = {"os": {"name": "windows"}}
HOST_NETWORK = {"hostNetwork": True}
OFF = {"injection": {"enabled": False}}
ONLY_TOOLS = {"injection": {"types": ["tool"]}}
NOTHING = {"identity": {"enabled": False}, "trace": {"exporters": []}}
# Two readable layers whose merge is not: Envoy's two ports would be one.
CONTRADICTION = {"identity": {"outbound": {"trafficInterception": {"inboundProxyPort": 15123}}}}
AGENT = {"kagenti.io/type": "agent"}


@dataclass(frozen=True)
class Row:
    """One row: what is there, and what must come of it. ``reason`` empty: the webhook is not called.

    ``layer`` is the namespace's config; ``exempt`` makes the cluster exempt from Mandatory whom it names. ``policy`` is what
    the audit log has to say of it, where the reason is the same without.
    """

    why: str
    modes: str
    reason: str
    outcome: str
    label: str | None = None
    runtime: bool = False
    enrolled: bool = True
    layer: JSON = None
    exempt: JSON = None
    labels: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, JSON] = field(default_factory=dict)
    warned: str = ""
    trigger: str = ""
    policy: str = ""


def cases(rows: list[Row], params: Callable[..., Any]) -> list[Any]:
    """Returns one parameter per mode and row."""
    return [
        params(mode, row, id=f"{mode}: {row.why}")
        for mode in ("label", "cr", "both")
        for row in rows
        if mode in row.modes.split()
    ]


@dataclass(frozen=True)
class Observer:
    """Creates what a row speaks of, once the webhook has seen the layers, and reads the verdict in the audit log."""

    api: ApiClient
    cluster: ControlPlane
    cluster_config: Callable[[JSON], None]
    resource: str

    def layers(self, row: Row, namespace: str) -> None:
        """Writes the layers of the row."""
        if row.exempt is not None:
            rule = {"names": [namespace], "injection": "Mandatory", "exempt": [row.exempt]}
            self.cluster_config({"policy": {"namespaces": [rule]}})
        if row.layer is not None:
            made = self.api.create(config(namespace, **row.layer))
            assert made.ok, made.message

    def created(self, row: Row, manifest: JSON) -> Answer:
        """Returns the answer to the creation; layers come by watch, so dry runs go before where there are any."""
        if row.reason and (row.layer is not None or row.exempt is not None):
            self.settle(row, manifest)
        return self.api.create(manifest)

    def settle(self, row: Row, manifest: JSON) -> None:
        """Creates by dry run until the verdict is the row's."""
        namespace = manifest["metadata"]["namespace"]

        def settled() -> bool:
            self.api.create(manifest, dry_run=True)
            last = self.seen(namespace)[-1:]
            return [(seen.reason, row.policy in ("", seen.policy)) for seen in last] == [(row.reason, True)]

        wait_until(settled, 15, lambda: f"{row.why}: never {row.reason}, but {self.seen(namespace)}")

    def seen(self, namespace: str) -> list[Verdict]:
        """Returns the verdicts on creations in the namespace."""
        return verdicts(self.cluster, resource=self.resource, namespace=namespace, name="weather")

    def check(self, row: Row, answer: Answer, described: str, *, shown: Callable[[JSON], str]) -> None:
        """Compares the answer with the row; ``shown`` says of an object whether it is injected or bare."""
        if row.outcome == "denied":
            assert not answer.ok, described
            assert row.reason in answer.message, described
            return
        assert answer.ok, f"{described}: {answer.message}"
        assert shown(answer.body) == row.outcome, described
        if row.warned:
            found = [warning for warning in answer.warnings if row.warned.lower() in warning.lower()]
            assert found, (described, answer.warnings)
