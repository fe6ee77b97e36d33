"""Derived values: what they come from, which origin they carry, and that a lock pins them like any other."""

# ruff: noqa: E501  # a table reads by line
from typing import Any, Final

import pytest

from kagenti.core.settings import Layer, resolve
from kagenti_api.v1alpha1.built_in import BUILT_IN, ENVOY_IMAGES
from tests.unit.core.settings.given import (
    ADMIN_SECRET,
    CLUSTER,
    ISSUER,
    JWKS_URL,
    NAMESPACE,
    REALM,
    TOKEN_URL,
    URL,
    VALIDATION,
    WORKLOAD,
    cluster,
    namespace,
    workload,
)

JSON = Any  # a value of the layered block
JWT_AUDIENCE: Final = "identity.spiffe.jwtAudience"
ENVOY_IMAGE: Final = "components.envoyProxy.image"
INIT_IMAGE: Final = "components.proxyInit.image"
MIRROR: Final = "injection.imageRegistry"
EXCHANGE: Final = "injection.tokenExchange"
DEFAULT_REALM: Final = "http://keycloak.kagenti-system.svc:8080/realms/default"
DEFAULT_INIT: Final = BUILT_IN["components"]["proxyInit"]["image"]


@pytest.mark.parametrize(
    ("reason", "layers", "path", "value", "origin"),
    [
        ("from the built-in layer", (None, None, None), ISSUER, DEFAULT_REALM, ("built-in", URL)),
        ("the lowest input gives the origin", (cluster({URL: "https://idp.example"}), None, workload({REALM: "team"})), ISSUER, "https://idp.example/realms/team", (WORKLOAD, REALM)),
        ("in the other order too", (None, namespace({REALM: "team"}), workload({URL: "https://idp.example", ADMIN_SECRET: "mine"})), JWKS_URL, "https://idp.example/realms/team/protocol/openid-connect/certs", (WORKLOAD, URL)),
        ("a trailing slash of the URL is dropped", (cluster({URL: "https://idp.example/"}), None, None), TOKEN_URL, "https://idp.example/realms/default/protocol/openid-connect/token", (CLUSTER, URL)),
        ("the JWT-SVID is for the issuer", (None, namespace({ISSUER: "https://other.example"}), None), JWT_AUDIENCE, "https://other.example", (NAMESPACE, ISSUER)),
        ("or for what the issuer is derived from", (None, namespace({REALM: "team"}), None), JWT_AUDIENCE, "http://keycloak.kagenti-system.svc:8080/realms/team", (NAMESPACE, REALM)),
        ("Envoy's image by who exchanges", (None, None, workload({EXCHANGE: "AuthBridge"})), ENVOY_IMAGE, ENVOY_IMAGES["AuthBridge"], (WORKLOAD, EXCHANGE)),
        ("a mirror moves default images", (cluster({MIRROR: "mirror.example/k/"}), None, None), INIT_IMAGE, f"mirror.example/k/{DEFAULT_INIT.partition('/')[2]}", (CLUSTER, MIRROR)),
        ("a mirror moves the derived image", (cluster({MIRROR: "mirror.example"}), None, None), ENVOY_IMAGE, f"mirror.example/{ENVOY_IMAGES['Envoy'].partition('/')[2]}", (CLUSTER, MIRROR)),
    ],
)  # fmt: skip
def test_derived_values_and_their_origin(
    reason: str, layers: tuple[Layer | None, ...], path: str, value: JSON, origin: tuple[str, str]
) -> None:
    """Computed after the merge from merged inputs; the origin is the input that the lowest layer gave."""
    resolved = resolve(*layers)
    found = resolved.origins[path]
    assert (resolved[path], str(found.source), found.derived_from) == (value, *origin), reason


def test_an_image_that_a_layer_chose_is_not_moved_to_the_mirror() -> None:
    """The mirror replaces the registry of default images only."""
    resolved = resolve(cluster({MIRROR: "mirror.example", INIT_IMAGE: "own.example/init:1"}), None, None)
    assert resolved[INIT_IMAGE] == "own.example/init:1"


@pytest.mark.parametrize(
    ("reason", "locked", "below", "path", "value"),
    [
        ("the issuer does not follow the realm", ISSUER, {REALM: "evil"}, ISSUER, DEFAULT_REALM),
        ("nor the URL", ISSUER, {URL: "http://evil.example", ADMIN_SECRET: "mine"}, ISSUER, DEFAULT_REALM),
        ("a subtree pins what is derived in it", VALIDATION, {REALM: "evil"}, JWKS_URL, f"{DEFAULT_REALM}/protocol/openid-connect/certs"),
        ("the key set", JWKS_URL, {REALM: "evil"}, JWKS_URL, f"{DEFAULT_REALM}/protocol/openid-connect/certs"),
        ("the token endpoint", TOKEN_URL, {REALM: "evil"}, TOKEN_URL, f"{DEFAULT_REALM}/protocol/openid-connect/token"),
        ("the audience of the JWT-SVID, by realm", JWT_AUDIENCE, {REALM: "evil"}, JWT_AUDIENCE, DEFAULT_REALM),
        ("the audience of the JWT-SVID, by issuer", JWT_AUDIENCE, {ISSUER: "http://evil.example"}, JWT_AUDIENCE, DEFAULT_REALM),
        ("what is not locked follows", ISSUER, {REALM: "team"}, TOKEN_URL, "http://keycloak.kagenti-system.svc:8080/realms/team/protocol/openid-connect/token"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("layer", ["cluster", "namespace"])
def test_a_lock_pins_a_derived_value(
    reason: str, locked: str, below: dict[str, JSON], path: str, value: JSON, layer: str
) -> None:
    """Locking without a value pins what the layers above give, also where that is computed."""
    top = cluster(locked=[locked]) if layer == "cluster" else None
    config = namespace(locked=[locked]) if layer == "namespace" else None
    assert resolve(top, config, workload(below))[path] == value, reason


def test_a_pinned_value_says_where_it_comes_from() -> None:
    """It keeps its origin: derived, from the layers above the lock."""
    origin = resolve(cluster({REALM: "prod"}, locked=[ISSUER]), None, workload({REALM: "evil"})).origins[ISSUER]
    assert (str(origin.source), origin.derived_from) == (CLUSTER, REALM)


@pytest.mark.parametrize("path", [INIT_IMAGE, ENVOY_IMAGE])
def test_a_pinned_image_is_not_moved_to_a_lower_mirror(path: str) -> None:
    """A mirror that the cluster opened to lower layers does not reach locked images."""
    top = cluster(delegated=[MIRROR], locked=[path])
    lower = workload({MIRROR: "evil.example"})
    assert resolve(top, None, lower)[path] == resolve(None, None, None)[path]
    assert resolve(cluster(delegated=[MIRROR]), None, lower)[path].startswith("evil.example/")


def test_a_pinned_image_of_the_other_exchanger_is_a_fault() -> None:
    """Envoy's own image has no processor: such a pod would never serve."""
    top = cluster(locked=["components"])
    (fault,) = resolve(top, None, workload({EXCHANGE: "AuthBridge"})).errors
    assert (fault.path, fault.objects) == (ENVOY_IMAGE, (WORKLOAD,))
    assert resolve(top, None, workload({EXCHANGE: "Envoy"})).errors == ()
    mirrored = cluster({EXCHANGE: "AuthBridge", MIRROR: "mirror.example"}, locked=["components"])
    assert resolve(mirrored, None, None).errors == ()
