"""What a pod and the audit log show of a decision: read from the API server, never from our own process."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from tests.e2e.audit import lines
from tests.e2e.plane.control_plane import ControlPlane

JSON = Any  # a Kubernetes object as received

OURS = ("spiffe-helper", "kagenti-client-registration", "envoy-proxy", "proxy-init")


@dataclass(frozen=True)
class Verdict:
    """The audit annotations of one admission: decision, reason, trigger, how the policy stood, and which entry answered."""

    decision: str
    reason: str
    trigger: str
    entry: str
    name: str = ""
    workload: str = ""
    policy: str = ""


def injected(pod: Mapping[str, JSON]) -> bool:
    """Whether the pod has our containers, in our order, and a receipt."""
    names = [container["name"] for container in pod["spec"].get("initContainers") or ()]
    return receipt(pod) is not None and [name for name in names if name in OURS] == list(OURS)


def bare(pod: Mapping[str, JSON]) -> bool:
    """Whether nothing of ours is on the pod."""
    metadata = pod["metadata"]
    keys = [*(metadata.get("annotations") or {}), *(metadata.get("labels") or {})]
    named = [container["name"] for container in pod["spec"].get("initContainers") or ()]
    volumes = [volume["name"] for volume in pod["spec"].get("volumes") or ()]
    return (
        not any(
            key.startswith("config.kagenti.io/") or key in ("kagenti.io/injected", "kagenti.io/managed") for key in keys
        )
        and not any(name in OURS for name in named)
        and not any(name.startswith("kagenti-") for name in volumes)
    )


def receipt(pod: Mapping[str, JSON]) -> JSON | None:
    """Returns the decoded receipt, or None."""
    text = (pod["metadata"].get("annotations") or {}).get("kagenti.io/injected")
    return orjson.loads(text) if text else None


def verdicts(plane: ControlPlane, *, resource: str, namespace: str, name: str = "") -> list[Verdict]:
    """Returns what the audit log recorded for creations of that resource, oldest first."""
    found = []
    for line in lines(plane.audit_log, namespace=namespace):
        if b'"inject-' not in line or b"kagenti.io/reason" not in line:
            continue
        event = orjson.loads(line)
        reference = event.get("objectRef") or {}
        if reference.get("resource") != resource:
            continue
        if name and reference.get("name") != name:
            continue
        found.append(_verdict(event["annotations"], reference.get("name", "")))
    return found


def _verdict(annotations: Mapping[str, str], name: str) -> Verdict:
    entry = next(
        key.rpartition("/")[0] for key in annotations if key.startswith("inject-") and key.endswith("kagenti.io/reason")
    )
    return Verdict(
        decision=annotations.get(f"{entry}/decision", ""),
        reason=annotations.get(f"{entry}/reason", ""),
        trigger=annotations.get(f"{entry}/trigger", ""),
        entry=entry,
        name=name,
        workload=annotations.get(f"{entry}/owner", ""),
        policy=annotations.get(f"{entry}/policy", ""),
    )
