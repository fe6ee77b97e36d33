"""Pods of files as the webhook leaves them: triggered by label or by AgentRuntime, under the built-in settings."""

import copy
import datetime
from typing import Any

from kagenti.core.admission.pods import mutate_pod
from kagenti.core.admission.respond import Answer
from tests.json_patch import applied
from tests.unit.core.admission.cluster import DEPLOYMENT, NOW, Cluster, context, layers, reference, request, stored

JSON = Any  # a raw pod

LABEL, RUNTIME = Cluster(), Cluster(agent_runtimes=[stored("team1", "w", targetRef=reference())])
_CONTEXT, _LAYERS = context(), layers()


def labelled(pod: JSON) -> JSON:
    """Returns the pod with the label that triggers."""
    given = copy.deepcopy(pod)
    given["metadata"]["labels"] = {**(given["metadata"].get("labels") or {}), "kagenti.io/inject": "enabled"}
    return given


def admitted(pod: JSON, cluster: Cluster, *, later: int = 0) -> tuple[Answer, JSON]:
    """Returns the answer, and the pod as it leaves admission."""
    now = NOW + datetime.timedelta(hours=later)
    answer = mutate_pod(request(pod), cluster.facts(DEPLOYMENT), context=_CONTEXT, layers=_LAYERS, now=now)
    return answer, applied(pod, answer.patch) if answer.patch else pod
