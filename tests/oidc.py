"""A small OpenID provider on loopback: RS256, JWKS, client_credentials and RFC 8693, with answers that a test may script.

It answers as Keycloak's standard token exchange v2 does where a proxy can tell the difference (audience only filters,
200 without any ``aud``, the error codes); what it leaves out is everything else. For tests and the demo only.
"""

import base64
import json
import secrets
import threading
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

JSON = Any  # claims and answers

EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
JWT_BEARER: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
JWT_SPIFFE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
JWKS_PATH, TOKEN_PATH = "/protocol/openid-connect/certs", "/protocol/openid-connect/token"


@cache
def _rsa(_name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Key:
    """One RS256 key pair; the same name is the same key within a process, for making one is slow."""

    def __init__(self, name: str) -> None:
        self.kid, self._private = name, _rsa(name)

    def sign(self, claims: Mapping[str, JSON]) -> str:
        """Returns these claims as a JWT."""
        return jwt.encode(dict(claims), self._private, algorithm="RS256", headers={"kid": self.kid})

    def verified(self, token: str) -> dict[str, JSON] | None:
        """Returns the claims of an unexpired token of this key, or None."""
        try:
            options: JSON = {"verify_aud": False}
            return jwt.decode(token, self._private.public_key(), algorithms=["RS256"], options=options)
        except jwt.InvalidTokenError:
            return None

    def jwk(self) -> dict[str, JSON]:
        """Returns the public half."""
        made: dict[str, JSON] = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self._private.public_key()))
        return {**made, "kid": self.kid, "use": "sig", "alg": "RS256"}


@dataclass(frozen=True)
class Client:
    """A confidential client: authenticated by its secret, or by an assertion whose ``sub`` is ``subject``.

    ``audiences`` are in every token of the client; ``scopes`` are optional, and each may add one audience.
    """

    id: str
    secret: str = ""
    subject: str = ""
    audiences: tuple[str, ...] = ()
    scopes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A scripted answer; ``wait`` is held until it is set (at most 10 s), so that a test can be sure of the order."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: threading.Event | None = None

    @classmethod
    def of(cls, body: JSON, status: int = 200) -> "Answer":
        """Returns a JSON answer."""
        return cls(status, json.dumps(body).encode(), {"content-type": "application/json"})

    @classmethod
    def held(cls) -> "Answer":
        """Returns an answer that is not given before ``release``."""
        return cls(wait=threading.Event())

    def release(self) -> None:
        """Lets a held answer go."""
        assert self.wait is not None
        self.wait.set()


@dataclass(frozen=True)
class Request:
    """One request as it came; ``form`` holds the last value of each field."""

    method: str
    path: str
    headers: Mapping[str, str]
    form: Mapping[str, str]


class Oidc:
    """The provider; use as a context manager. ``realm`` is part of every URL, as in Keycloak; ``host`` an address."""

    def __init__(
        self, *clients: Client, realm: str = "default", audiences: tuple[str, ...] = (), host: str = "127.0.0.1"
    ) -> None:
        self.host = host
        self.clients = {client.id: client for client in clients}
        self.known_audiences = {*audiences, *self.clients}
        self.realm, self.lifetime = realm, 600
        self.keys = [Key("oidc-1")]
        self.federation = Key("federation")
        self.requests: list[Request] = []
        self._scripted: dict[str, deque[Answer]] = defaultdict(deque)
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Serves on the port it had before, or on a free one."""
        self._server = _Server((self.host, self._port), _handler(self))
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Closes the port; connections are refused from now on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def url(self) -> str:
        """Base URL, as ``keycloak.url``."""
        return f"http://{self.host}:{self._port}"

    @property
    def issuer(self) -> str:
        """The realm's issuer."""
        return f"{self.url}/realms/{self.realm}"

    @property
    def token_url(self) -> str:
        """The token endpoint."""
        return self.issuer + TOKEN_PATH

    @property
    def jwks_url(self) -> str:
        """Where the realm's keys are."""
        return self.issuer + JWKS_PATH

    def jwks(self) -> dict[str, JSON]:
        """Returns the keys as the certs document shows them."""
        return {"keys": [key.jwk() for key in self.keys]}

    def rotate(self, name: str) -> None:
        """Signs with a new key from now on; the old keys stay published."""
        self.keys.insert(0, Key(name))

    def token(self, **claims: JSON) -> str:
        """Returns a signed token: iss, iat, exp, sub and jti are filled in; None leaves a claim out."""
        now = int(time.time())
        made = {"iss": self.issuer, "iat": now, "exp": now + self.lifetime, "sub": "alice", "jti": secrets.token_hex(8)}
        return self.keys[0].sign({key: value for key, value in (made | claims).items() if value is not None})

    def assertion(self, subject: str, **claims: JSON) -> str:
        """Returns a client assertion as the trusted issuer of workload tokens makes it."""
        now = int(time.time())
        made = {"iss": "https://workloads.example", "sub": subject, "aud": self.issuer, "iat": now, "exp": now + 300}
        return self.federation.sign(made | claims)

    def script(self, path: str, *answers: Answer) -> None:
        """Gives these answers to the next requests whose path ends so, instead of the real ones."""
        self._scripted[path].extend(answers)

    def token_requests(self) -> list[Request]:
        """Returns the requests that the token endpoint has seen."""
        return [request for request in self.requests if request.path.endswith(TOKEN_PATH)]

    def answer(self, request: Request) -> Answer:
        """Returns the answer to one request, and remembers the request."""
        self.requests.append(request)
        for path, answers in self._scripted.items():
            if request.path.endswith(path) and answers:
                return answers.popleft()
        base = f"/realms/{self.realm}"
        if request.path == base + JWKS_PATH:
            return Answer.of(self.jwks())
        if request.path == base + TOKEN_PATH and request.method == "POST":
            return _granted(self, request)
        if request.path == base + "/.well-known/openid-configuration":
            endpoints = {"token_endpoint": self.token_url, "jwks_uri": self.jwks_url}
            return Answer.of({"issuer": self.issuer, **endpoints})
        return Answer.of({"error": "not_found"}, 404)


def _error(status: int, code: str, description: str) -> Answer:
    return Answer.of({"error": code, "error_description": description}, status)


def _granted(oidc: Oidc, request: Request) -> Answer:
    client = _authenticated(oidc, request)
    if client is None:
        return _error(401, "invalid_client", "Invalid client or Invalid client credentials")
    form, grant = request.form, request.form.get("grant_type")
    if grant == "client_credentials":
        return _issued(oidc, client, form, subject=f"service-account-{client.id}")
    if grant != EXCHANGE:
        return _error(400, "unsupported_grant_type", "Unsupported grant_type")
    if form.get("subject_token_type") != ACCESS_TOKEN:
        return _error(400, "invalid_request", "Parameter 'subject_token_type' supports access_token only")
    subject = next((found for key in oidc.keys if (found := key.verified(form.get("subject_token", "")))), None)
    if subject is None:
        return _error(400, "invalid_request", "Invalid token")
    aud = subject.get("aud", [])
    if client.id not in (aud if isinstance(aud, list) else [aud]) and subject.get("azp") != client.id:
        return _error(403, "access_denied", "Client is not within the token audience")
    return _issued(oidc, client, form, subject=subject["sub"])


def _authenticated(oidc: Oidc, request: Request) -> Client | None:
    """By secret in the form or in a Basic header (RFC 6749 section 2.3.1), or by assertion (RFC 7521 section 4.2)."""
    form = request.form
    if form.get("client_assertion_type") in (JWT_BEARER, JWT_SPIFFE):
        claims = oidc.federation.verified(form.get("client_assertion", "")) or {}
        # Keycloak: aud is exactly one value, the realm's issuer
        found = [client for client in oidc.clients.values() if client.subject and client.subject == claims.get("sub")]
        ok = found and claims.get("aud") == oidc.issuer and form.get("client_id", found[0].id) == found[0].id
        return found[0] if ok else None
    name, secret = form.get("client_id", ""), form.get("client_secret", "")
    if request.headers.get("authorization", "").startswith("Basic "):
        pair = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        name, _, secret = (unquote(part) for part in pair.partition(":"))
    client = oidc.clients.get(name)
    return client if client and client.secret and secret == client.secret else None


def _issued(oidc: Oidc, client: Client, form: Mapping[str, str], *, subject: str) -> Answer:
    """``audience`` only filters, it never adds (reference: keycloak-facts section 2)."""
    scopes = form.get("scope", "").split()
    if unknown := [scope for scope in scopes if scope not in client.scopes]:
        return _error(400, "invalid_scope", f"Invalid scopes: {' '.join(unknown)}")
    available = [*client.audiences, *(client.scopes[scope] for scope in scopes if client.scopes[scope])]
    asked = form.get("audience")
    if asked and asked not in oidc.known_audiences:
        return _error(400, "invalid_client", "Audience not found")
    if asked and asked not in available:
        return _error(400, "invalid_request", f"Requested audience not available: {asked}")
    aud = [asked] if asked else available
    audience = (aud[0] if len(aud) == 1 else aud) or None
    token = oidc.token(sub=subject, azp=client.id, aud=audience, scope=" ".join(scopes))
    body = {"access_token": token, "token_type": "Bearer", "expires_in": oidc.lifetime, "scope": " ".join(scopes)}
    return Answer.of({**body, "issued_token_type": ACCESS_TOKEN})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


def _handler(oidc: Oidc) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Says nothing: tokens pass here."""

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            form = {name: values[-1] for name, values in parse_qs(body, keep_blank_values=True).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = oidc.answer(Request(self.command, urlsplit(self.path).path, headers, form))
            if answer.wait is not None:
                answer.wait.wait(10)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.send_header("connection", "close")  # so that stop() leaves no connection that still answers
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = _serve  # noqa: N815  # the names that http.server looks for

    return Handler
