"""Which of several revisions of a workload is the current one: read only where pods of more than one are ready."""

from collections.abc import Sequence
from typing import Final

import msgspec

from kagenti import errors
from kagenti.core.cards import AgentPod, Revision
from kagenti.core.workload import OwnerReference
from kagenti.kube.kinds import path_of
from kagenti.kube.owners import Get

_BUDGET: Final = 1.0  # seconds
# A rollback gives an old ReplicaSet the highest number anew, so that neither names nor ages of ReplicaSets tell.
_DEPLOYMENT: Final = "deployment.kubernetes.io/revision"
_ROLLOUT: Final = "rollout.argoproj.io/revision"


class _Annotations(msgspec.Struct, frozen=True):
    deployment: str = msgspec.field(default="", name=_DEPLOYMENT)
    rollout: str = msgspec.field(default="", name=_ROLLOUT)


class _Metadata(msgspec.Struct):
    uid: str = ""
    annotations: _Annotations = _Annotations()


class _Status(msgspec.Struct, rename="camel", frozen=True):
    update_revision: str = ""


class _Controller(msgspec.Struct):
    metadata: _Metadata
    status: _Status = _Status()


_decoder = msgspec.json.Decoder(_Controller)


class RevisionReader:
    """Reads the controllers of pods; an answer holds for the moment only, so that nothing is kept."""

    def __init__(self, client: Get) -> None:
        self._client = client
        self.reads = 0

    async def current(self, pods: Sequence[AgentPod]) -> Revision | None:
        """Returns the current revision of a workload, given one pod of each; None where its kind does not say.

        A Deployment and a Rollout number their ReplicaSets, a StatefulSet names its newest template. Raises ClusterError.
        """
        owners = {pod.owner.uid: pod.owner for pod in pods if pod.owner is not None}
        kinds = {(owner.group, owner.kind) for owner in owners.values()}
        namespace = pods[0].namespace
        if kinds == {("apps", "StatefulSet")} and len(owners) == 1:
            found = await self._read(next(iter(owners.values())), namespace)
            return Revision(found.metadata.uid, found.status.update_revision) if found else None
        if kinds == {("apps", "ReplicaSet")}:
            numbered = [(await self._number(owner, namespace), uid) for uid, owner in owners.items()]
            number, uid = max(numbered)
            return Revision(uid) if number else None
        return None

    async def _number(self, owner: OwnerReference, namespace: str) -> int:
        found = await self._read(owner, namespace)
        number = (found.metadata.annotations.deployment or found.metadata.annotations.rollout) if found else ""
        return int(number) if number.isascii() and number.isdigit() else 0

    async def _read(self, owner: OwnerReference, namespace: str) -> _Controller | None:
        """Returns the object of that name and uid; None where there is none any more."""
        path = path_of((owner.group, owner.kind), namespace, owner.name)
        if path is None:
            return None
        self.reads += 1
        try:
            found = _decoder.decode(await self._client.get(path, timeout=_BUDGET))
        except errors.NotFound:
            return None
        except msgspec.DecodeError as problem:
            raise errors.Unreachable(f"GET {path} was answered with what is no object: {problem}") from problem
        return found if found.metadata.uid == owner.uid else None
