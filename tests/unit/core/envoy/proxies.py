"""Envoys for tests: settings from layers, as the pipeline makes them, and a JWKS document that Envoy accepts."""

from collections.abc import Mapping
from typing import Any, Final

from kagenti.core.envoy import Proxy
from kagenti.core.installation import Installation
from kagenti.core.settings import ResolvedSettings, WorkloadValues, resolve, values_for
from kagenti.core.workload import WorkloadRef
from tests.unit.core.settings import given

JSON = Any  # a value of the layered block

KEYS: Final = (
    '{"keys":[{"kty":"EC","crv":"P-256","kid":"test","alg":"ES256","use":"sig",'
    '"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}'
)
"""RFC 7515 appendix A.3."""
OWNER: Final = WorkloadRef("apps", "Deployment", "team1", "weather")


def settings(values: Mapping[str, JSON] | None = None) -> ResolvedSettings:
    """Returns what a cluster layer with these values over the built-in one resolves to."""
    found = resolve(given.cluster(values), None, None)
    assert not found.errors, found.errors
    return found


def values(resolved: ResolvedSettings) -> WorkloadValues:
    """Returns the values of the deployment ``team1/weather``."""
    return values_for(resolved, owner=OWNER, service_account="weather")


def proxy(overrides: Mapping[str, JSON] | None = None, **fields: Any) -> Proxy:  # Any: fields of Proxy, checked there
    """Returns the Envoy of ``team1/weather``, port 8080 mapped to 8081, keys known."""
    resolved = settings(overrides)
    made: dict[str, Any] = {"port_mapping": {8080: 8081}, "keys": KEYS, "namespaces": ("team1", "observability")}
    return Proxy(resolved, values(resolved), Installation(xds_authority=AUTHORITY), **(made | fields))


AUTHORITY: Final = """-----BEGIN CERTIFICATE-----
MIIBhjCCASugAwIBAgIUER00jP8la1I3EJG9V/Jg1Pm0HK8wCgYIKoZIzj0EAwIw
FzEVMBMGA1UEAwwMa2FnZW50aS10ZXN0MCAXDTI2MTEyNDE4NDYzMFoYDzIxMjYx
MDMxMTg0NjMwWjAXMRUwEwYDVQQDDAxrYWdlbnRpLXRlc3QwWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAASwLAuGdWeS+HlKKb8RDC9v16Pg6L9IXNFENccrIeeJpl14
xXDg8aKk6kKdJCPp6uHtnhtLyGAbrPZbKOxrt/1to1MwUTAdBgNVHQ4EFgQUbb1G
Wv7JHV5jriyxQfoX7AEfiWAwHwYDVR0jBBgwFoAUbb1GWv7JHV5jriyxQfoX7AEf
iWAwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEAqtOi61N1dK8q
DAiSHSwFayQNyf11nOa8wtp8Nim0Fc8CIQCqJ6WQLLj22ORNaJrf5Qgwx/urNIoz
yott3oeYfJ90Pw==
-----END CERTIFICATE-----
"""
"""A certificate authority whose key nobody has."""
