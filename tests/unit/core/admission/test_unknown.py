"""What is not known is not claimed: namespaces that the cache has not seen, and deletions that name nobody."""

import pytest

from kagenti.core.admission import advise, validate
from kagenti.core.admission.respond import Answer
from tests.unit.core.admission.cluster import (
    ENABLED,
    NOW,
    Cluster,
    context,
    layers,
    ours,
    reference,
    request,
    stored,
    workload,
)

RUNTIME = ours("AgentRuntime", "weather", targetRef=reference())
MANDATORY = ours("AgentRuntimeConfig", "default", policy={"injection": "Mandatory"})


def unseen() -> Cluster:
    """A cluster whose new namespace has not come in yet, with an AgentRuntime in it."""
    return Cluster(labels={}, agent_runtimes=[stored("team1", "weather", targetRef=reference())])


def advice(manifest: object) -> tuple[str, ...]:
    """The warnings about a workload in the unseen namespace."""
    asked = request(manifest)
    return advise.advise(asked, view=unseen(), layers=layers(), context=context(), target="pods", now=NOW).warnings


def test_a_workload_in_an_unseen_namespace_is_not_called_unenrolled() -> None:
    """Only what the workload itself shows is said."""
    assert advice(workload("Deployment")) == ()
    (warning,) = advice(workload("Deployment", own=ENABLED))
    assert "on the Deployment's own metadata" in warning


@pytest.mark.parametrize("manifest", [RUNTIME, MANDATORY], ids=["AgentRuntime", "Mandatory"])
def test_a_write_in_an_unseen_namespace_is_not_called_unenrolled(manifest: object) -> None:
    """Neither NotEnrolled nor PolicyUnenforced is claimed of a namespace that may well be enrolled."""
    given: Answer = validate.validate(request(manifest), validate.Desk(Cluster(labels={}), layers(), context()))
    assert not [warning for warning in given.warnings if "Enrolled" in warning or "Unenforced" in warning]


def test_a_deleted_agentruntime_is_not_its_own_heir() -> None:
    """A deletecollection sends no name: it stands in the old object."""
    given = validate.validate(request(None, old=RUNTIME, name=""), validate.Desk(unseen(), layers(), context()))
    (warning,) = given.warnings
    assert warning.startswith("future pods of Deployment team1/weather")
