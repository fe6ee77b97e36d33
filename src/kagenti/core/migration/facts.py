"""What the model of the old webhook reads for one pod, and what it gathers: the ground of ``model`` and ``traffic``."""

from dataclasses import dataclass, field
from typing import Any, Final

from kagenti.core.migration import images
from kagenti.core.migration.chain import Components, OldPod
from kagenti.core.migration.installation import Old, OldNamespace

JSON = Any  # a value of an old file

OUTBOUND: Final = "outbound"
"""Field of the decisions for hosts, as notes name it."""

CONTAINERS: Final = {
    "proxyInit": "proxy-init",
    "spiffeHelper": "spiffe-helper",
    "clientRegistration": "kagenti-client-registration",
    "envoyProxy": "envoy-proxy",
}
"""Component → container name; kagenti kept the names."""


@dataclass(frozen=True, slots=True)
class Note:
    """Why a field need not come out the same: a reason code, and where it is certain, the value that it must have now."""

    reason: str
    expected: JSON = None
    certain: bool = False


@dataclass(slots=True)
class Found:
    """Fields as they are gathered."""

    values: dict[str, JSON] = field(default_factory=lambda: {"injected": True})
    notes: dict[str, Note] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the descriptions read."""

    old: Old
    pod: OldPod
    parts: Components
    namespace: OldNamespace

    def config(self, name: str) -> str:
        """Returns a value of authbridge-config; an empty one counts as missing (1.3)."""
        return self.namespace.config.get(name, "").strip()

    def image(self, component: str) -> str:
        """Returns the image of a component: the written one, else the one that was compiled in."""
        return str(self.old.platform.get(f"images.{component}") or images.COMPILED[component])

    @property
    def has_client(self) -> bool:
        """Whether anybody registered a client, without which the processor passed every call on unchanged (3.4, 4.3)."""
        era = self.old.era
        if era.registration != "operator" or era.consolidated:
            return self.parts.registers
        return self.parts.registers or self.pod.labels.get(era.label("client-registration-inject")) != "true"

    @property
    def processor(self) -> images.Processor:
        """What the processor of the image in use did with its environment."""
        if self.old.era.consolidated:
            return images.Processor()
        return images.processor_of(self.image("authbridge" if self.parts.combined else "envoyProxy"))

    @property
    def running(self) -> tuple[str, ...]:
        """The components that ran as a container of their own."""
        if self.old.era.consolidated:
            return ()
        on = {"envoyProxy": self.parts.envoy, "proxyInit": self.parts.envoy, "spiffeHelper": self.parts.spire}
        on["clientRegistration"] = self.parts.registers
        if self.parts.combined:
            return ("proxyInit",) if self.parts.envoy else ()
        return tuple(component for component in CONTAINERS if on[component])

    def plugin(self, name: str) -> JSON:
        """Returns a field of the consolidated binary's plugins."""
        runtime = self.namespace.runtime
        return runtime.values.get(name) if runtime is not None and self.old.era.consolidated else None
