"""RFC 8693 token exchange inside Envoy: one static Lua filter, and the rule that a route hands to it as metadata.

The filter is the same in every pod and stands in the bootstrap. What a route wants comes as data over RDS, the client's
credentials from files in the pod; neither ever contains a secret of ours.
"""

from typing import Final
from urllib.parse import urlsplit

from kagenti.core.envoy import upstreams
from kagenti.core.envoy.destinations import Destination
from kagenti.core.envoy.exchange_script import SCRIPT
from kagenti.core.envoy.layout import JSON, LUA
from kagenti.core.envoy.proto import extension
from kagenti.core.settings import digest
from kagenti.core.settings.federated import by_service_account
from kagenti.core.settings.model import ResolvedSettings

LOG_NAMESPACE: Final = "kagenti"
"""Dynamic metadata of a refusal, for the access log: ``audience``, ``reason``, ``sub`` (as the caller claims it)."""
_CONFIG: Final = "envoy.extensions.filters.http.lua.v3.Lua"
_AUTH_TYPE: Final = "identity.clientRegistration.authType"


def lua_filter() -> JSON:
    """Returns the HTTP filter, the same for every pod."""
    # clear_route_cache: the route that gave the rule also carries the request, whatever comes over RDS meanwhile.
    return extension(LUA, _CONFIG, default_source_code={"inline_string": SCRIPT}, clear_route_cache=False)


def client_authentication(settings: ResolvedSettings) -> str:
    """Returns how the client authenticates: ``client-secret``, or by an assertion, ``jwt-spiffe`` or ``jwt-bearer``.

    With federated-jwt the assertion is the JWT-SVID, or where SPIFFE is off a projected service-account token; the names
    are those of the assertion types (RFC 7523 section 2.2; SPIFFE client authentication).
    """
    if settings.text(_AUTH_TYPE) != "federated-jwt":
        return "client-secret"
    return "jwt-bearer" if by_service_account(settings.values) else "jwt-spiffe"


def rule(destination: Destination, settings: ResolvedSettings, *, client_id: str) -> JSON:
    """Returns the metadata of a route that exchanges: all that the script asks for, as text.

    ``hash`` stands for the rule in the cache's key, so that a token of one rule is never taken for another's.
    """
    url = urlsplit(destination.token_url)
    asked = {
        "audience": destination.audience,
        "scope": " ".join(destination.scopes),
        "cluster": upstreams.token_name(destination.token_url),
        "authority": url.netloc,
        "path": (url.path or "/") + (f"?{url.query}" if url.query else ""),
        "client_authentication": client_authentication(settings),
        "on_missing_token": destination.on_missing_token,
    }
    return {**asked, "hash": digest([asked, client_id])}
