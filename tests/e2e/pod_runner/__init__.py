"""Runs an injected pod as its kubelet would: a network namespace, its volumes, its own script, Envoy and probes."""

from tests.e2e.pod_runner.network import Network, Node, permitted
from tests.e2e.pod_runner.runner import PodRunner

__all__ = ["Network", "Node", "PodRunner", "permitted"]
