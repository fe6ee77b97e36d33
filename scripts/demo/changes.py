"""Changes by kubectl, and when the API server received them."""

import datetime
import json
import subprocess
from typing import Any

import orjson
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a manifest or an audit event


def apply(plane: ControlPlane, manifest: JSON) -> subprocess.Popen[str]:
    """Starts ``kubectl apply`` of a manifest."""
    command = [str(plane.binaries.kubectl), "--kubeconfig", str(plane.kubeconfig), "apply", "-f", "-"]
    started = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    if started.stdin is not None:  # always, for it is a pipe
        started.stdin.write(json.dumps(manifest))
        started.stdin.close()
        started.stdin = None  # communicate() would flush it
    return started


def applied(plane: ControlPlane, manifest: JSON) -> str:
    """Applies a manifest; returns what kubectl said when it was refused, else an empty text."""
    process = apply(plane, manifest)
    _, said = process.communicate(timeout=30)
    return said.strip() if process.returncode != 0 else ""


def received(plane: ControlPlane, plural: str, *, since: float) -> float:
    """Returns when the API server received the newest write of that kind after ``since`` (seconds since the epoch)."""
    found: list[float] = []

    def logged() -> bool:
        found[:] = [at for event in _writes(plane, plural) if (at := _moment(event)) >= since]
        return bool(found)

    wait_until(logged, 10, lambda: f"no write of {plural} in the audit log")
    return found[-1]


def _writes(plane: ControlPlane, plural: str) -> list[JSON]:
    whole = plane.audit_log.read_bytes().rpartition(b"\n")[0]  # a last line may be being written
    lines = [line for line in whole.splitlines() if plural.encode() in line]
    events = [orjson.loads(line) for line in lines]
    return [
        event
        for event in events
        if (event.get("objectRef") or {}).get("resource") == plural
        and not event["objectRef"].get("subresource")
        and event["verb"] in ("create", "patch", "update")
        and "kubectl" in event.get("userAgent", "")
    ]


def _moment(event: JSON) -> float:
    return datetime.datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()
