"""Every pod of the corpora against the API server's own schema: what it takes before injection, it takes after."""

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.api_client import Answer, ApiClient
from tests.unit.core.inject.admitting import RUNTIME, admitted
from tests.unit.core.inject.corpus import CORPORA, DATA, Found, read

JSON = Any  # a raw pod
Team = Callable[..., str]

RECORDED = [found for found in read(DATA) if found.pod]
WHOLE = [found for found in read(CORPORA) if found.pod] if CORPORA.exists() else []


@pytest.fixture
def created(api: ApiClient, team: Team) -> Callable[[JSON], Answer]:
    """Creates a pod by dry run, every unknown or repeated field being an error; no webhook of ours sees the namespace."""
    namespace = team(enrolled=False)
    accounts: set[str] = set()

    def create(found: JSON) -> Answer:
        pod = copy.deepcopy(found)
        pod["metadata"]["namespace"] = namespace
        account = pod["spec"].get("serviceAccountName")
        if account and account not in accounts:
            accounts.add(account)
            body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}
            api.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", body)
        path = f"/api/v1/namespaces/{namespace}/pods"
        return api.request("POST", path, pod, dryRun="All", fieldValidation="Strict")

    return create


def outcome(found: Found, created: Callable[[JSON], Answer]) -> str:
    """Returns what becomes of one pod; raises AssertionError where the API server finds fault with what we made of it."""
    answer, pod = admitted(found.pod, RUNTIME)
    if not answer.patch:
        return answer.reason
    before, after = created(found.pod), created(pod)
    assert _faults(after) == _faults(before), (found.name, after.message)
    if not after.ok:
        return "refused as it stands"
    again, _ = admitted(after.body, RUNTIME)
    assert again.patch == (), (found.name, again.patch)
    return answer.reason


def _faults(answer: Answer) -> Counter[str]:
    """Returns what the API server has against a pod; without the fields, for ours move the user's init containers down."""
    if answer.ok:
        return Counter()
    causes = (answer.body.get("details") or {}).get("causes") or [{"message": answer.message}]
    return Counter(cause["message"] for cause in causes)


def test_the_recorded_pods_stay_valid(created: Callable[[JSON], Answer]) -> None:
    """By the API server's schema and its validation, defaulted ones read back are recognised."""
    outcomes = Counter(outcome(found, created) for found in RECORDED)
    assert outcomes == {"AgentRuntime": 2, "ForeignInterceptor": 5, "UnsupportedPod": 1}


@pytest.mark.skipif(not WHOLE, reason="the corpora of other injectors are not beside this checkout")
def test_the_pods_of_the_whole_corpora_stay_valid(created: Callable[[JSON], Answer]) -> None:
    """The same for every pod of both corpora; one names a volume that it does not have."""
    outcomes = Counter(outcome(found, created) for found in WHOLE)
    assert outcomes == {"AgentRuntime": 124, "ForeignInterceptor": 16, "UnsupportedPod": 3, "refused as it stands": 1}


def test_a_field_that_is_none_is_found(created: Callable[[JSON], Answer]) -> None:
    """The check can fail: the API server names a misspelt field of an init container."""
    _, pod = admitted(RECORDED[0].pod, RUNTIME)
    pod["spec"]["initContainers"][0]["imagePullPolice"] = "Always"
    assert 'unknown field "spec.initContainers[0].imagePullPolice"' in created(pod).message
