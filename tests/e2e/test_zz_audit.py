"""Last of all: the audit log of the whole run proves what no process of ours ever does."""

import datetime

import orjson
import pytest

from tests.e2e.plane.control_plane import ControlPlane

OURS = "system:serviceaccount:kagenti-system:kagenti-"
WRITES = {"create", "update", "patch", "delete", "deletecollection"}


@pytest.fixture(scope="module")
def requests(cluster: ControlPlane) -> list[dict[str, str]]:
    """Every request that an account of ours made in this run."""
    found = []
    for line in cluster.audit_log.read_bytes().splitlines():
        event = orjson.loads(line)
        if event["user"]["username"].startswith(OURS):
            reference = event.get("objectRef") or {}
            found.append(
                {
                    "verb": event["verb"],
                    "resource": reference.get("resource", ""),
                    "uri": event["requestURI"],
                    "code": str((event.get("responseStatus") or {}).get("code", "")),
                    "at": event["requestReceivedTimestamp"],
                }
            )
    return found


def test_the_run_made_requests_at_all(requests: list[dict[str, str]]) -> None:
    """The webhook did talk to this API server: the checks below are about something."""
    assert any(request["verb"] == "watch" for request in requests)


def test_nobody_of_us_asked_for_configmaps_or_secrets(requests: list[dict[str, str]]) -> None:
    """No request for configmaps and no Secret was read by any kagenti account."""
    assert [request for request in requests if request["resource"] in ("configmaps", "secrets")] == []


def test_the_webhook_wrote_nothing(requests: list[dict[str, str]]) -> None:
    """No write of any kind, self reviews of one's own rights apart."""
    writes = [request for request in requests if request["verb"] in WRITES]
    assert [request for request in writes if not request["resource"].startswith("selfsubject")] == []


def test_every_call_was_within_the_rendered_rights(cluster: ControlPlane, requests: list[dict[str, str]]) -> None:
    """No request of ours was refused by RBAC, but by an API server that had just started and knew no roles yet."""

    def warming(at: str) -> bool:
        seconds = datetime.datetime.fromisoformat(at).timestamp()
        return any(begin <= seconds <= end for begin, end in cluster.warming)

    assert [request for request in requests if request["code"] == "403" and not warming(request["at"])] == []
