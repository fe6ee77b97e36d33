"""Values computed after the merge from merged inputs; each carries the origin ``derived from …`` of what it came from.

A lock on such a path computes it early, from what is merged down to the lock, so that the layers below cannot move it.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from kagenti.core.settings.model import JSON, Merged, Origin, under
from kagenti_api.v1alpha1.built_in import DERIVED, ENVOY_IMAGES

KEYCLOAK: Final = "identity.clientRegistration.keycloak"
VALIDATION: Final = "identity.inbound.validation"
TEMPLATE: Final = f"{KEYCLOAK}.clientNameTemplate"
_COMPONENTS: Final = ("proxyInit", "spiffeHelper", "clientRegistration", "envoyProxy")
_DERIVABLE: Final = tuple(dict.fromkeys((*DERIVED, *(f"components.{name}.image" for name in _COMPONENTS))))
_PREFIX: Final = "{{.Namespace}}/"


def derive(merged: Merged) -> None:
    """Adds every derived value that no layer gave."""
    origin = _closest(merged, f"{KEYCLOAK}.url", f"{KEYCLOAK}.realm")
    for path, url in realm_urls(merged.values).items():
        _default(merged, path, url, origin)
    issuer = f"{VALIDATION}.issuer"
    _default(merged, "identity.spiffe.jwtAudience", merged.values[issuer], merged.origins[issuer])
    _images(merged)
    _client_name(merged)


def realm_urls(values: Mapping[str, JSON]) -> dict[str, str]:
    """Returns the URLs that follow from Keycloak's URL and realm, by path (Keycloak: "Securing applications")."""
    realm = f"{values[f'{KEYCLOAK}.url'].rstrip('/')}/realms/{values[f'{KEYCLOAK}.realm']}"
    return {
        f"{VALIDATION}.issuer": realm,
        f"{VALIDATION}.jwksUrl": f"{realm}/protocol/openid-connect/certs",
        "identity.outbound.tokenExchange.tokenUrl": f"{realm}/protocol/openid-connect/token",
    }


def pin(merged: Merged, locked: Sequence[str]) -> None:
    """Makes the derived values under these locked paths fast as they are now."""
    paths = [path for path in _DERIVABLE if any(under(path, subtree) for subtree in locked)]
    if not paths:
        return
    ahead = Merged(values=dict(merged.values), origins=dict(merged.origins), pinned=set(merged.pinned))
    derive(ahead)
    merged.values.update({path: ahead.values[path] for path in paths})
    merged.origins.update({path: ahead.origins[path] for path in paths})
    merged.pinned.update(paths)


def _default(merged: Merged, path: str, value: JSON, origin: Origin) -> None:
    if path not in merged.values:
        merged.values[path] = value
        merged.origins[path] = Origin(origin.source, path, derived_from=origin.derived_from or origin.path)


def _closest(merged: Merged, *paths: str) -> Origin:
    """Returns the origin of the input that the lowest layer gave."""
    order = ("built-in", "cluster", "namespace", "workload")
    return max((merged.origins[path] for path in paths), key=lambda origin: order.index(origin.source.layer))


def _images(merged: Merged) -> None:
    """Fills in Envoy's image by who exchanges tokens, and moves default images to the mirror where one is set."""
    exchange = "injection.tokenExchange"
    _default(merged, "components.envoyProxy.image", ENVOY_IMAGES[merged.values[exchange]], merged.origins[exchange])
    mirror = merged.values.get("injection.imageRegistry")
    if not mirror:
        return
    origin = merged.origins["injection.imageRegistry"]
    for component in _COMPONENTS:
        path = f"components.{component}.image"
        if path in merged.pinned:
            continue
        if merged.origins[path].source.layer == "built-in" or merged.origins[path].derived_from:
            merged.values[path] = mirrored(merged.values[path], mirror)
            merged.origins[path] = Origin(origin.source, path, derived_from=origin.path)


def mirrored(image: str, registry: str) -> str:
    """Returns a default image with its registry host replaced by a prefix."""
    _, _, rest = image.partition("/")
    return f"{registry.rstrip('/')}/{rest}"


def _client_name(merged: Merged) -> None:
    """Keeps client names of lower layers inside their namespace: the name also names the realm's audience scope.

    Decided here, not at expansion, so that the name's revision and the receipt know it; the layer's object says which
    namespace that is.
    """
    origin = merged.origins[TEMPLATE]
    template, namespace = merged.values[TEMPLATE], origin.source.namespace
    if origin.source.layer in ("built-in", "cluster") or template.startswith((_PREFIX, f"{namespace or _PREFIX}/")):
        return
    merged.values[TEMPLATE] = _PREFIX + template
    merged.origins[TEMPLATE] = Origin(origin.source, TEMPLATE, derived_from=TEMPLATE)
