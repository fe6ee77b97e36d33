"""What a caller's token must show: signature and lifetime in ``jwt_authn``, every claim in RBAC per route.

Keys and issuer are one extension (ECDS), the claims stand in the route table (RDS): one push changes audience and
scopes together, and while only one of the two has arrived callers are refused, never let in (facts §2).
"""

from collections.abc import Iterator, Sequence
from typing import Final

from kagenti.core.envoy import layout
from kagenti.core.envoy.layout import JSON
from kagenti.core.envoy.proto import exact, typed
from kagenti.core.settings.model import ResolvedSettings

JWT: Final = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
RBAC: Final = "envoy.extensions.filters.http.rbac.v3.RBAC"
NAMESPACE: Final = "envoy.filters.http.jwt_authn"
"""Where ``jwt_authn`` leaves its metadata."""
PAYLOAD: Final = "jwt"
_JWT_ROUTE: Final = "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig"
_RBAC_ROUTE: Final = "envoy.extensions.filters.http.rbac.v3.RBACPerRoute"
# The requirement's name never changes: whichever of ECDS and RDS comes first, no route names an unknown one.
_REQUIREMENT: Final = "token"
_SCOPE: Final = "scope"
_BEARER: Final = "[Bb]earer [A-Za-z0-9._-]+"


def provider(settings: ResolvedSettings, keys: str) -> JSON:
    """Returns the extension ``jwt``: whose tokens, and the keys that they are signed with."""
    issuer = {
        "issuer": settings.text(f"{layout.VALIDATION}.issuer"),
        "local_jwks": {"inline_string": keys},
        # Only here: as a query parameter a token ends in everybody's logs (RFC 6750 section 5.3).
        "from_headers": [{"name": "authorization", "value_prefix": prefix} for prefix in ("Bearer ", "bearer ")],
        "forward": True,
        "require_expiration": True,
        "payload_in_metadata": PAYLOAD,
        # Not `aud`: an audience is one word, and splitting it would let "a b" pass for "b".
        "normalize_payload_in_metadata": {"space_delimited_claims": [_SCOPE]},
    }
    requirements = {_REQUIREMENT: {"provider_name": "issuer"}}
    return _extension(providers={"issuer": issuer}, requirement_map=requirements)


def nobody_asked() -> JSON:
    """Returns the extension ``jwt`` of a proxy that validates nothing."""
    return _extension()


def _extension(**fields: JSON) -> JSON:
    return {"name": layout.JWT, "typed_config": typed(JWT, **fields)}


def passing() -> JSON:
    """Returns the route fields by which a request needs no token."""
    return _per_route({"disabled": True}, {})


def required(settings: ResolvedSettings, audience: str) -> JSON:
    """Returns the route fields by which a request needs a token with that audience and every required scope."""
    issuer = settings.text(f"{layout.VALIDATION}.issuer")
    scopes: Sequence[str] = settings.items(f"{layout.VALIDATION}.requiredScopes")
    policies = {name: _unless(rule) for name, rule in _rules(issuer, audience, scopes)}
    return _per_route({"requirement_name": _REQUIREMENT}, {"rbac": {"rules": {"action": "DENY", "policies": policies}}})


def _per_route(jwt: JSON, rbac: JSON) -> JSON:
    return {
        "typed_per_filter_config": {
            layout.JWT: typed(_JWT_ROUTE, **jwt),
            layout.RBAC: typed(_RBAC_ROUTE, **rbac),
        }
    }


def _rules(issuer: str, audience: str, scopes: Sequence[str]) -> Iterator[tuple[str, JSON]]:
    """Yields what must hold, by the name that the refusal shows."""
    # A second header or a second token would be the app's to choose from, and only one has been checked.
    yield "one bearer token", {"header": {"name": "authorization", "string_match": {"safe_regex": {"regex": _BEARER}}}}
    yield "issuer", _claim("iss", exact(issuer))
    yield "audience", {"or_rules": {"rules": [_claim("aud", exact(audience)), _claim("aud", _holding(audience))]}}
    for scope in scopes:
        yield f"scope {scope}", _claim(_SCOPE, _holding(scope))


def _unless(rule: JSON) -> JSON:
    """Returns a policy of denial for requests of which a rule does not hold; a missing claim does not hold."""
    return {"permissions": [{"not_rule": rule}], "principals": [{"any": True}]}


def _holding(value: str) -> JSON:
    return {"list_match": {"one_of": exact(value)}}


def _claim(name: str, value: JSON) -> JSON:
    matcher = {"filter": NAMESPACE, "path": [{"key": PAYLOAD}, {"key": name}], "value": value}
    return {"sourced_metadata": {"metadata_matcher": matcher}}
