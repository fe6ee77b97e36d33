"""Requests to a pod and from its app, by curl-like small clients; what came back as status and decoded body."""

import http.client
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.e2e.pod_runner import PodRunner

JSON = Any  # an answer's body


@dataclass(frozen=True)
class Answer:
    """Status (0 where the connection was closed or refused), decoded JSON or text, and headers."""

    status: int
    body: JSON
    headers: Mapping[str, str]


def ask(
    address: str,
    port: int,
    path: str = "/",
    *,
    token: str = "",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Sends one request to a pod from outside."""
    connection = http.client.HTTPConnection(address, port, timeout=5)
    sent = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
    try:
        connection.request(method, path, headers=sent)
        response = connection.getresponse()
        text = response.read().decode()
    except (OSError, http.client.HTTPException):
        return Answer(0, "", {})
    finally:
        connection.close()
    return Answer(response.status, decoded(text), dict(response.getheaders()))


def decoded(text: str) -> JSON:
    """Returns JSON where it is some, else the text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def call_out(
    pod: PodRunner,
    url: str,
    *,
    token: str = "",
    options: tuple[str, ...] = (),
    user: tuple[int, int] = (10001, 10001),
) -> Answer:
    """Sends one request from the pod's app, or from another process of the pod, through the interception."""
    words = ["curl", "--silent", "--max-time", "5", "--write-out", "\n%{http_code}", *options, url]
    if token:
        words += ["--header", f"Authorization: Bearer {token}"]
    done = subprocess.run(pod.run_as_app(*words, user=user), capture_output=True, text=True, check=False)
    text, _, status = done.stdout.rpartition("\n")
    return Answer(int(status or 0), decoded(text), {})
