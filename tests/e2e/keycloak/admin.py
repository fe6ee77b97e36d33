"""A realm as an administrator and the registration sidecar make it, by Keycloak's admin REST API."""

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

JSON = Any  # a representation of Keycloak's admin API

_SECONDS: Final = 60.0
_QUICK: Final = "hashAlgorithm(pbkdf2-sha256) and hashIterations(1)"  # 0.2 s less for each login
_LOGIN: Final = "/realms/master/protocol/openid-connect/token"


@dataclass(frozen=True)
class Answered:
    """One answer; ``body`` is the parsed JSON, None where there is none."""

    status: int
    body: JSON
    headers: Mapping[str, str]


def asked(method: str, url: str, *, body: bytes | None = None, **headers: str) -> Answered:
    """Sends one request; underscores in header names stand for hyphens."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_SECONDS)
    try:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        text, got = answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()
    return Answered(answer.status, json.loads(text) if "json" in got.get("content-type", "") else None, got)


def token_request(url: str, form: Mapping[str, str]) -> Answered:
    """Sends a form to a token endpoint (RFC 6749 section 4)."""
    return asked("POST", url, body=urlencode(form).encode(), content_type="application/x-www-form-urlencoded")


class Admin:
    """The administrator of one server."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url
        self._login = {"grant_type": "password", "client_id": "admin-cli", "username": user, "password": password}
        self._token, self._until = "", 0.0

    def token(self) -> str:
        """Returns an access token of the realm master, good for half its life at least."""
        if time.monotonic() > self._until:
            answer = token_request(self.url + _LOGIN, self._login).body
            self._token, self._until = str(answer["access_token"]), time.monotonic() + answer["expires_in"] / 2
        return self._token

    def call(self, method: str, path: str, body: JSON = None) -> JSON:
        """Returns the body of the answer to one call below ``/admin/realms``; raises RuntimeError where it is an error."""
        return self._answer(method, path, body).body

    def create(self, path: str, body: JSON) -> str:
        """Creates an object below ``/admin/realms`` and returns its id."""
        return self._answer("POST", path, body).headers["location"].rpartition("/")[2]

    def _answer(self, method: str, path: str, body: JSON) -> Answered:
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.token()}", "content_type": "application/json"}
        answer = asked(method, f"{self.url}/admin/realms{path}", body=data, **headers)
        if answer.status >= http.client.BAD_REQUEST:
            raise RuntimeError(f"keycloak: {method} {path} answered {answer.status}: {answer.body}")
        return answer


class Realm:
    """One realm, made by ``create``, as is all that is in it; clients are named by ``clientId``, the rest by name."""

    def __init__(self, admin: Admin, name: str) -> None:
        self.admin, self.name = admin, name
        self._clients: dict[str, str] = {}
        self._scopes: dict[str, str] = {}
        self._users: dict[str, str] = {}

    @property
    def url(self) -> str:
        """Base URL of the server, as ``keycloak.url``."""
        return self.admin.url

    @property
    def issuer(self) -> str:
        """The realm's issuer."""
        return f"{self.url}/realms/{self.name}"

    @property
    def token_url(self) -> str:
        """The token endpoint."""
        return f"{self.issuer}/protocol/openid-connect/token"

    @property
    def jwks_url(self) -> str:
        """Where the realm's keys are."""
        return f"{self.issuer}/protocol/openid-connect/certs"

    def create(self) -> None:
        """Creates it, usable without TLS."""
        self.admin.call(
            "POST", "", {"realm": self.name, "enabled": True, "sslRequired": "none", "passwordPolicy": _QUICK}
        )

    def call(self, method: str, path: str, body: JSON = None) -> JSON:
        """Calls the admin API below this realm."""
        return self.admin.call(method, f"/{self.name}{path}", body)

    # --- clients -----------------------------------------------------------------------------------------------------

    def change(self, client_id: str, **fields: JSON) -> None:
        """Changes fields of a client; attributes are added to those it has."""
        path = f"/clients/{self._clients[client_id]}"
        found = self.call("GET", path)
        attributes = found.get("attributes", {}) | fields.pop("attributes", {})
        self.call("PUT", path, {**found, **fields, "attributes": attributes})

    def add_client(self, client_id: str, **fields: JSON) -> str:
        """Creates a confidential client and returns its secret."""
        flows = {"standardFlowEnabled": True, "directAccessGrantsEnabled": True, "serviceAccountsEnabled": True}
        plain = {"clientId": client_id, "name": client_id, "publicClient": False, "fullScopeAllowed": False}
        made = self._clients[client_id] = self.admin.create(f"/{self.name}/clients", {**plain, **flows, **fields})
        return str(self.call("GET", f"/clients/{made}/client-secret").get("value", ""))

    def register(self, client_id: str, *, platform: tuple[str, ...] = (), idp: str = "") -> str:
        """Registers a client just as the sidecar does (reference: authbridge-contract section 4.1).

        Its audience scope becomes a default of the realm, so of clients that are made later, and of the platform's. With
        ``idp`` the client is a federated-jwt one of that provider, whose ``sub`` the sidecar always makes the client id.
        Returns the secret, which a federated-jwt client never uses.
        """
        attributes = {"standard.token.exchange.enabled": "true"}
        if idp:
            attributes |= {"jwt.credential.issuer": idp, "jwt.credential.sub": client_id}
        kind = "federated-jwt" if idp else "client-secret"
        secret = self.add_client(client_id, clientAuthenticatorType=kind, attributes=attributes)
        scope = f"agent-{client_id.replace('/', '-')}-aud"
        made = self.add_scope(scope, audience=client_id)
        self.call("PUT", f"/default-default-client-scopes/{made}")
        for each in platform:
            self.give_scope(each, scope, "default")
        return secret

    # --- scopes ------------------------------------------------------------------------------------------------------

    def add_scope(self, name: str, *, audience: str = "") -> str:
        """Creates a client scope, which adds an audience where one is given; returns its id."""
        mapper = {
            "name": name,
            "protocol": "openid-connect",
            "protocolMapper": "oidc-audience-mapper",
            "config": {"included.custom.audience": audience, "access.token.claim": "true", "id.token.claim": "false"},
        }
        shown = {"include.in.token.scope": "true"}
        mappers = [mapper] if audience else []
        scope = {"name": name, "protocol": "openid-connect", "attributes": shown, "protocolMappers": mappers}
        self._scopes[name] = self.admin.create(f"/{self.name}/client-scopes", scope)
        return self._scopes[name]

    def give_scope(self, client_id: str, name: str, kind: str = "optional") -> None:
        """Makes a scope an ``optional`` or ``default`` one of a client."""
        self.call("PUT", f"/clients/{self._clients[client_id]}/{kind}-client-scopes/{self._scopes[name]}")

    # --- users and roles ---------------------------------------------------------------------------------------------

    def add_user(self, name: str, password: str) -> None:
        """Creates a user who may log in."""
        credentials = [{"type": "password", "value": password, "temporary": False}]
        profile = {"firstName": name, "lastName": name, "email": f"{name}@example.org", "emailVerified": True}
        user = {"username": name, "enabled": True, "credentials": credentials, **profile}
        self._users[name] = self.admin.create(f"/{self.name}/users", user)

    def enable_user(self, name: str, *, enabled: bool) -> None:
        """Enables or disables a user."""
        self.call("PUT", f"/users/{self._users[name]}", {"enabled": enabled})

    def log_out(self, name: str) -> None:
        """Ends all sessions of a user."""
        self.call("POST", f"/users/{self._users[name]}/logout")

    def grant_role(self, name: str, *, of: str, user: str, requester: str) -> None:
        """Makes a role of client ``of``, gives it to a user, and lets a requester's tokens show it (scope mapping)."""
        target, client = self._clients[of], self._clients[requester]
        self.call("POST", f"/clients/{target}/roles", {"name": name})
        role = [self.call("GET", f"/clients/{target}/roles/{name}")]
        self.call("POST", f"/users/{self._users[user]}/role-mappings/clients/{target}", role)
        self.call("POST", f"/clients/{client}/scope-mappings/clients/{target}", role)

    # --- keys and foreign issuers ------------------------------------------------------------------------------------

    def add_key(self, name: str, *, priority: int) -> None:
        """Adds an RS256 key; the one of highest priority signs."""
        realm = self.admin.call("GET", f"/{self.name}")["id"]
        config = {"priority": [str(priority)], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"]}
        kind = {"providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider"}
        self.call("POST", "/components", {"name": name, **kind, "parentId": realm, "config": config})

    def change_key(self, name: str, **config: str) -> None:
        """Changes an RS256 key: ``active``, ``enabled``, ``priority``."""
        components = self.call("GET", "/components?type=org.keycloak.keys.KeyProvider")
        found = next(component for component in components if component["name"] == name)
        changed = {key: [value] for key, value in config.items()}
        self.call("PUT", f"/components/{found['id']}", {**found, "config": found["config"] | changed})

    def trust_cluster(self, alias: str, issuer: str) -> None:
        """Lets clients authenticate by the service-account tokens of a cluster (reference: keycloak-facts section 4)."""
        made = {"alias": alias, "providerId": "kubernetes", "enabled": True, "config": {"issuer": issuer}}
        self.call("POST", "/identity-provider/instances", made)
