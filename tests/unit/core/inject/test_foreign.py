"""Another mesh's interceptor is known by its shape, and by its name together with a shape; a name alone is nobody's."""

from typing import Any

import pytest

from kagenti.core.inject.foreign import interceptor

JSON = Any  # a raw container


@pytest.mark.parametrize(
    ("container", "mesh"),
    [
        ({"name": "istio-proxy", "image": "docker.io/istio/proxyv2:1.29.0", "args": ["proxy", "sidecar"]}, "Istio"),
        ({"name": "mesh", "image": "docker.io/istio/proxyv2:1.29"}, "Istio"),
        ({"name": "mesh", "image": "registry.example:5000/mirror/proxyv2@sha256:0123"}, "Istio"),
        ({"name": "mesh", "image": "corp/envoy", "args": ["proxy", "sidecar", "--domain", "x"]}, "Istio"),
        ({"name": "rules", "image": "corp/iptables", "args": ["istio-iptables", "-p", "15001"]}, "Istio"),
        ({"name": "rules", "image": "corp/iptables", "command": ["istio-iptables"], "args": ["-p"]}, "Istio"),
        ({"name": "mesh", "image": "corp/x", "env": [{"name": "ISTIO_META_CLUSTER_ID", "value": "k"}]}, "Istio"),
        ({"name": "istio-proxy", "image": "auto"}, "Istio"),
        ({"name": "istio-init", "image": "gcr.io/istio-release/proxy_init:1.0.2"}, "Istio"),
        ({"name": "linkerd-proxy"}, "Linkerd"),
        ({"name": "linkerd-proxy", "image": "registry.corp.example/mirror/l5d-proxy:2.14"}, "Linkerd"),
        ({"name": "x", "image": "cr.l5d.io/linkerd/proxy:edge-26.1.1"}, "Linkerd"),
        ({"name": "linkerd-init", "image": "corp/init:1", "args": ["--incoming-proxy-port", "4143"]}, "Linkerd"),
        ({"name": "x", "image": "corp/x", "env": [{"name": "LINKERD2_PROXY_LOG", "value": "warn"}]}, "Linkerd"),
        ({"name": "istio-proxy", "image": "nginx"}, ""),
        ({"name": "istio-proxy", "image": "registry.example/team/web:istio"}, ""),
        ({"name": "linkerd-init", "image": "busybox", "args": ["sh", "-c", "migrate"]}, ""),
        ({"name": "web", "image": "example/proxy:1", "args": ["proxy", "--sidecar"]}, ""),
        ({"name": "web", "image": "example/istio-docs:1"}, ""),
        ({"name": "proxy", "image": "linkerd-io/proxy"}, ""),
    ],
)
def test_by_name_and_shape(container: JSON, mesh: str) -> None:
    """The message names container, mesh and the way out."""
    found = interceptor([("spec.containers[0]", container)])
    if not mesh:
        assert found is None
        return
    assert found is not None
    field, message = found
    assert field == "spec.containers[0]"
    assert f"container {container['name']!r} is {mesh}'s interceptor" in message
    assert "ambient" in message
