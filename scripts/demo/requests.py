"""Requests to a running pod and from its app, and what is said of their answers."""

import http.client
from collections.abc import Mapping
from typing import Any

import jwt
from scripts.demo.telling import Row
from tests.e2e.pod_runner import PodRunner
from tests.e2e.xds.calls import Answer, ask, call_out
from tests.oidc import Oidc

JSON = Any  # claims

PORT = 8081
"""The app's own port: interception leads it through Envoy, whoever dials it."""


def inbound(pod: PodRunner, what: str, wanted: int, *, token: str = "") -> Row:
    """Sends one request to the pod from outside."""
    answer = ask(pod.address, PORT, token=token)
    return Row(what, answer.status, wanted, _said(answer))


def _said(answer: Answer) -> str:
    if isinstance(answer.body, Mapping) and "port" in answer.body:
        return f"served by the app on port {answer.body['port']}"
    if isinstance(answer.body, Mapping) and "reason" in answer.body:
        return f"{answer.body['error']}: {answer.body['reason']}"
    return str(answer.body).strip()


class Connection:
    """One keep-alive connection to a pod; raises OSError or HTTPException when it breaks."""

    def __init__(self, pod: PodRunner) -> None:
        self._connection = http.client.HTTPConnection(pod.address, PORT, timeout=5)
        self._connection.connect()
        self._connection.auto_open = 0  # a broken connection must not be mended unseen
        self.requests = 0

    def status(self, token: str) -> int:
        """Sends one request and returns its status."""
        self._connection.request("GET", "/", headers={"Authorization": f"Bearer {token}"})
        response = self._connection.getresponse()
        response.read()
        self.requests += 1
        return response.status

    def close(self) -> None:
        """Hangs up."""
        self._connection.close()


def outbound(pod: PodRunner, url: str, *, token: str, idp: Oidc) -> tuple[int, str, str]:
    """Calls out as the app does: status, what token arrived there (empty: no call arrived), and what the answer said."""
    answer = call_out(pod, url, token=token)
    if not (isinstance(answer.body, Mapping) and "headers" in answer.body):
        return answer.status, "", str(answer.body).strip()
    arrived = str(answer.body["headers"].get("authorization", "")).removeprefix("Bearer ")
    if arrived == token:
        return answer.status, "caller's token", "untouched"
    claims = next((found for key in idp.keys if (found := key.verified(arrived))), None)
    if claims is None:
        return answer.status, "another token", f"not of the provider: {_unverified(arrived)}"
    said = f"exchanged: issued to {claims.get('azp')} for {claims.get('sub')}"
    return answer.status, f"token for {claims.get('aud')}", said


def _unverified(token: str) -> JSON:
    try:
        return jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return "no token"
