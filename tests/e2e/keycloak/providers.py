"""Two identity providers with the same clients, scopes and callers: a realm of Keycloak, and the small server.

Both are asked for: ``url`` and ``token_url``; ``credentials`` of a requester of the table; ``subject``, a new token of a
caller of the table.
"""

import secrets
import time
from collections.abc import Callable
from typing import Final, Protocol

from tests.e2e.keycloak.admin import Admin, Realm, token_request
from tests.e2e.keycloak.table import CLOSED, DISABLED, GRANTED, PLAIN, ROLE, TOOL, WEATHER
from tests.e2e.plane.waiting import wait_until
from tests.oidc import Client, Key, Oidc

REQUESTERS: Final = (WEATHER, GRANTED, ROLE, PLAIN, CLOSED)
SCOPES: Final = {"aud-tool": TOOL, "aud-other": "other", "aud-switched-off": DISABLED, "plain": ""}
PLATFORM, BRIEF, STRANGER = "kagenti", "brief", "stranger"
_TOKEN_SECONDS: Final = 1  # of a caller's token that is to expire


class Provider(Protocol):
    """What a test asks of either."""

    @property
    def url(self) -> str:
        """Base URL, as ``keycloak.url``."""

    @property
    def token_url(self) -> str:
        """The token endpoint."""

    def credentials(self, requester: str) -> tuple[str, str]:
        """Returns client id and secret; any secret for a client that does not exist."""

    def subject(self, kind: str) -> str:
        """Returns a new token of that kind of caller."""


class KeycloakProvider(Realm):
    """A realm with everything that the table needs."""

    def __init__(self, admin: Admin, name: str = "default") -> None:
        super().__init__(admin, name)
        self._secrets: dict[str, str] = {}
        self._password = secrets.token_urlsafe(12)

    def prepare(self, requesters: tuple[str, ...] = REQUESTERS) -> None:
        """Makes the realm; targets and platform clients come first, as on a running platform."""
        self.create()
        for client in (PLATFORM, BRIEF, STRANGER, TOOL, "other", DISABLED):
            self._secrets[client] = self.add_client(client)
        self.change(BRIEF, attributes={"access.token.lifespan": str(_TOKEN_SECONDS)})
        self.change(DISABLED, enabled=False)
        for scope, audience in SCOPES.items():
            self.add_scope(scope, audience=audience)
        for name in ("alice", "carol", "dora"):
            self.add_user(name, self._password)
        for requester in requesters:
            default = ("aud-tool",) if requester == GRANTED else ()
            optional = () if requester == ROLE else tuple(scope for scope in SCOPES if scope not in default)
            self.enrol(requester, *optional, default=default)
        self._particulars(requesters)

    def enrol(self, client_id: str, *optional: str, default: tuple[str, ...] = (), idp: str = "") -> None:
        """Registers a client as the sidecar does, and gives it scopes as an administrator does."""
        self._secrets[client_id] = self.register(client_id, platform=(PLATFORM, BRIEF), idp=idp)
        for scope in optional:
            self.give_scope(client_id, scope)
        for scope in default:
            self.give_scope(client_id, scope, "default")

    def _particulars(self, requesters: tuple[str, ...]) -> None:
        if ROLE in requesters:
            self.grant_role("user", of=TOOL, user="alice", requester=ROLE)
        if PLAIN in requesters:
            self.change(PLAIN, attributes={"standard.token.exchange.enabled": "false"})
        if CLOSED in requesters:
            self.change(CLOSED, enabled=False)

    def credentials(self, requester: str) -> tuple[str, str]:
        """Returns client id and secret; any secret for a client that does not exist."""
        return requester, self._secrets.get(requester, "any")

    def log_in(self, name: str, *, at: str = PLATFORM, scope: str = "") -> str:
        """Returns an access token of a user who logs in at a client."""
        form = {"grant_type": "password", "username": name, "password": self._password, "client_id": at}
        form |= {"client_secret": self._secrets[at]} | ({"scope": scope} if scope else {})
        answer = token_request(self.token_url, form)
        assert answer.status == 200, answer.body
        return str(answer.body["access_token"])

    def subject(self, kind: str) -> str:
        """Returns a new token of that kind of caller."""
        kinds: dict[str, Callable[[], str]] = {
            "alice": lambda: self.log_in("alice"),
            "stranger": lambda: self.log_in("alice", at=STRANGER),
            "expired": self._expired,
            "garbage": lambda: f"garbage-{secrets.token_hex(4)}",
            "elsewhere": self.admin.token,
            "logged out": self._logged_out,
            "disabled": self._disabled,
        }
        return kinds[kind]()

    def _expired(self) -> str:
        token, end = self.log_in("alice", at=BRIEF), time.time() + _TOKEN_SECONDS + 1
        wait_until(lambda: time.time() > end, 10, lambda: "the clock stands still")
        return token

    def _logged_out(self) -> str:
        token = self.log_in("carol")
        self.log_out("carol")
        return token

    def _disabled(self) -> str:
        self.enable_user("dora", enabled=True)
        token = self.log_in("dora")
        self.enable_user("dora", enabled=False)
        return token


class SmallProvider(Oidc):
    """The small server with those of the clients that it can stand for."""

    def __init__(self) -> None:
        scopes = {**SCOPES, "openid": ""}  # which Keycloak has always
        scoped = Client(WEATHER, secret="weather", scopes=scopes)
        granted = Client(GRANTED, secret="granted", audiences=(TOOL,), scopes=scopes)
        role = Client(ROLE, secret="role", audiences=(TOOL,))
        super().__init__(scoped, granted, role, audiences=(TOOL, "other"))

    def credentials(self, requester: str) -> tuple[str, str]:
        """Returns client id and secret; any secret for a client that does not exist."""
        return requester, self.clients[requester].secret if requester in self.clients else "any"

    def subject(self, kind: str) -> str:
        """Returns a new token of that kind of caller."""
        made = {"aud": list(REQUESTERS), "azp": PLATFORM, "sub": "alice"}
        kinds: dict[str, Callable[[], str]] = {
            "alice": lambda: self.token(**made),
            "stranger": lambda: self.token(**made | {"aud": STRANGER, "azp": STRANGER}),
            "expired": lambda: self.token(**made, exp=int(time.time()) - 1),
            "garbage": lambda: f"garbage-{secrets.token_hex(4)}",
            "elsewhere": lambda: Key("elsewhere").sign({**made, "iss": "http://elsewhere", "exp": time.time() + 300}),
        }
        return kinds[kind]()
