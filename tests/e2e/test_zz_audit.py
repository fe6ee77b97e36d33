"""Last of all: the audit log of the whole run proves what no process of ours ever does."""

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
                    "user": event["user"]["username"].rpartition(":")[2],
                    "verb": event["verb"],
                    "resource": reference.get("resource", ""),
                    "subresource": reference.get("subresource", ""),
                    "uri": event["requestURI"],
                    "code": str((event.get("responseStatus") or {}).get("code", "")),
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
    writes = [request for request in requests if request["verb"] in WRITES and request["user"] == "kagenti-webhook"]
    assert [request for request in writes if not request["resource"].startswith("selfsubject")] == []


def test_the_xds_server_wrote_our_status_alone(requests: list[dict[str, str]]) -> None:
    """Server-side apply of status, and questions about tokens."""
    written = {
        (request["verb"], request["subresource"] or request["resource"])
        for request in requests
        if request["verb"] in WRITES and request["user"] == "kagenti-xds"
    }
    assert written <= {("patch", "status"), ("create", "tokenreviews")}


def test_every_call_was_within_the_rendered_rights(requests: list[dict[str, str]]) -> None:
    """No request of ours was refused by RBAC."""
    assert [request for request in requests if request["code"] == "403"] == []
