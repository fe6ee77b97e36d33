"""Images for mirrors: all of them, and as the layers map them."""

from pathlib import Path

from kagenti.core import images
from kagenti_api.v1alpha1.built_in import BUILT_IN, ENVOY_IMAGES
from tests.documents import documents

VALUES = Path(__file__).resolve().parents[3] / "charts" / "kagenti" / "values.yaml"


def test_every_default_image_is_listed() -> None:
    """Those of the built-in layer, Envoy's by token exchange, and the chart's own."""
    named = {image.name for image in images.of_release("1.2.3")}
    [values] = documents(VALUES.read_text())
    components = {found["image"] for found in BUILT_IN["components"].values() if "image" in found}
    assert named == components | set(ENVOY_IMAGES.values()) | {f"{values['image']['repository']}:1.2.3"}


def test_a_mirror_replaces_the_registry_alone() -> None:
    """As injection.imageRegistry does."""
    (envoy,) = [found for found in images.of_release("1", registry="m.example/k/") if found.used.endswith(" Envoy")]
    assert envoy.mirror == "m.example/k/envoyproxy/envoy:distroless-v1.40.0"


def test_a_layers_own_image_is_used_as_it_stands() -> None:
    """A mirror moves defaults only."""
    layer = {
        "kind": "AgentRuntimeConfig",
        "metadata": {"name": "default", "namespace": "t"},
        "spec": {"components": {"envoyProxy": {"image": "corp/envoy:1"}, "proxyInit": {"enabled": True}}},
    }
    (found,) = images.of_layers([layer, {"metadata": {}, "spec": {}}])
    assert (found.name, found.mirror) == ("corp/envoy:1", "corp/envoy:1")
    assert found.used == "components.envoyProxy of AgentRuntimeConfig t/default"
