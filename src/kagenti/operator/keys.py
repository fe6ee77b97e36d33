"""What the queue holds: names of objects of ours, and of workloads that nothing of ours names."""

from typing import Final, NamedTuple

from kagenti.kube import StoredObject

RUNTIME: Final = "AgentRuntime"
NAMESPACE: Final = "AgentRuntimeConfig"
CLUSTER: Final = "AgentRuntimeClusterConfig"
DEFAULT: Final = "default"
"""Name of both config kinds' only object."""


class ObjectKey(NamedTuple):
    """One object of ours: kind, namespace (empty for the cluster's config), name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def key_of(stored: StoredObject) -> ObjectKey:
    """Returns the key of a stored object."""
    return ObjectKey(stored.kind, stored.namespace, stored.name)
