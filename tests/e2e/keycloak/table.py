"""The cases of standard token exchange v2 that a proxy can meet (reference: keycloak-facts section 2), as one table.

Each is asked of Keycloak and of the small server of ``tests/oidc.py``, directly and through Envoy. Where the small server
differs, the row says so, and ``docs/identity-providers.md`` has the case.
"""

from dataclasses import dataclass
from typing import Final

WEATHER: Final = "team1/weather"
"""The requester as the sidecar registers it, with the audience scopes of its targets as optional ones."""
GRANTED: Final = "team1/granted"
"""The same with ``aud-tool`` as a default scope."""
ROLE: Final = "team1/role"
"""The same with a role of the target, which the caller has, in its scope mappings."""
PLAIN: Final = "team1/plain"
"""The same with the exchange switched off."""
CLOSED: Final = "team1/closed"
"""The same, disabled."""

TOOL: Final = "tool"
DISABLED: Final = "switched-off"


@dataclass(frozen=True)
class Told:
    """What a token endpoint answers; ``error`` is empty with a token."""

    status: int
    error: str = ""
    description: str = ""


@dataclass(frozen=True)
class Row:
    """One case: who asks with which caller's token for what, what is told, and what the app gets of it.

    ``small`` is what the small server tells where that is something else, ABSENT where it knows no such state. ``secret``
    stands in place of the requester's own.
    """

    case: str
    told: Told
    status: int
    reason: str = ""
    requester: str = WEATHER
    subject: str = "alice"
    audience: str = TOOL
    scopes: tuple[str, ...] = ("aud-tool",)
    secret: str | None = None
    small: Told | None = None

    @property
    def small_told(self) -> Told:
        """What the small server tells."""
        return self.small or self.told


ABSENT: Final = Told(0)
"""The small server knows no such state."""
GIVEN: Final = Told(200)
INVALID: Final = Told(400, "invalid_request", "Invalid token")
_UNAVAILABLE: Final = Told(400, "invalid_request", "Requested audience not available: tool")
_OFF: Final = Told(400, "invalid_request", "Standard token exchange is not enabled for the requested client")
_STRANGER: Final = Told(403, "access_denied", "Client is not within the token audience")
_REFUSED, _CLIENT = (403, "ExchangeRefused"), (502, "ClientRefused")
_WRONG: Final = Told(401, "unauthorized_client", "Invalid client or Invalid client credentials")

TABLE: Final = (
    Row("optional scope, audience alone", _UNAVAILABLE, *_REFUSED, scopes=()),
    Row("optional scope, asked for", GIVEN, 200),
    Row(
        "scopes of two audiences, one audience asked for",
        GIVEN,
        200,
        scopes=("openid", "aud-tool", "aud-other", "plain"),
    ),
    Row("default scope, audience alone", GIVEN, 200, requester=GRANTED, scopes=()),
    Row("default scope, asked for", GIVEN, 200, requester=GRANTED),
    Row("role of the target, audience alone", GIVEN, 200, requester=ROLE, scopes=()),
    Row("scope of another audience", _UNAVAILABLE, *_REFUSED, scopes=("aud-other",)),
    Row("unknown audience", Told(400, "invalid_client", "Audience not found"), *_CLIENT, audience="nobody"),
    Row(
        "target disabled",
        Told(400, "invalid_client", "Client disabled"),
        *_CLIENT,
        audience=DISABLED,
        scopes=("aud-switched-off",),
        small=ABSENT,
    ),
    Row("caller's token not for us", _STRANGER, *_REFUSED, subject="stranger"),
    Row("caller's token expired", INVALID, *_REFUSED, subject="expired"),
    Row("caller's token garbage", INVALID, *_REFUSED, subject="garbage"),
    Row("caller's token of another realm", INVALID, *_REFUSED, subject="elsewhere"),
    Row("caller logged out", INVALID, *_REFUSED, subject="logged out", small=ABSENT),
    Row("caller disabled", INVALID, *_REFUSED, subject="disabled", small=ABSENT),
    Row("exchange switched off at the requester", _OFF, *_REFUSED, requester=PLAIN, small=ABSENT),
    Row("bad scope", Told(400, "invalid_scope", "Invalid scopes: nonsense"), *_REFUSED, scopes=("nonsense",)),
    Row("wrong secret", _WRONG, *_CLIENT, secret="wrong", small=Told(401, "invalid_client")),
    Row("no such client", Told(401, "invalid_client"), *_CLIENT, requester="team1/nobody", secret="any"),
    Row("requester disabled", Told(401, "invalid_client"), *_CLIENT, requester=CLOSED, small=ABSENT),
)
