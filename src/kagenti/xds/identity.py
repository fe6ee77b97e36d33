"""Who a stream is: bearer token → pod → workload; nothing that the client says of itself counts.

Verified locally, checked against the pod cache by uid, one GET for a pod that is too new for it; TokenReview where the
token cannot be verified here (spec 05). A pod that is not managed, or has ended, gets nothing.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from kagenti import errors
from kagenti.core.workload import WorkloadRef
from kagenti.kube import StoredPod
from kagenti.xds.session import Refused
from kagenti.xds.tokens import Claims, Unverifiable

_SCHEME: Final = "bearer"


class Verify(Protocol):
    """Verifies a token here."""

    async def verify(self, token: str) -> Claims:
        """Returns its claims; raises Refused, or Unverifiable where somebody else may know better."""


class Review(Protocol):
    """Asks the API server about a token."""

    async def review(self, token: str) -> Claims:
        """Returns its claims; raises Refused or ClusterError."""


class Pods(Protocol):
    """Knows managed pods and their workloads; raises ClusterError."""

    async def find(self, namespace: str, name: str, uid: str) -> StoredPod | None:
        """Returns the pod of that uid, or None."""

    async def top_owner(self, pod: StoredPod) -> WorkloadRef:
        """Returns a pod's workload."""


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """A pod that has proved who it is; ``expires_at`` is when its token ends, seconds since the epoch."""

    pod: StoredPod
    workload: WorkloadRef
    expires_at: float

    @property
    def node_id(self) -> str:
        """The only node id of our shape that it may claim (spec 04)."""
        return f"{self.pod.namespace}/{self.pod.name}/{self.pod.uid}"


class PodAuthenticator:
    """The Authenticator of the ADS server."""

    def __init__(self, verifier: Verify, reviewer: Review, pods: Pods) -> None:
        self._verifier, self._reviewer, self._pods = verifier, reviewer, pods

    async def authenticate(self, authorization: str, peer: str) -> PodIdentity:  # noqa: ARG002  # the protocol's; an address proves nothing
        """Returns the pod that the header proves; see ``session.Authenticator``."""
        claims = await self._claims(_bearer(authorization))
        pod = await self._pods.find(claims.namespace, claims.pod_name, claims.pod_uid)
        fault = _fault(pod, claims)
        if fault or pod is None:
            raise Refused(f"pod {claims.namespace}/{claims.pod_name} {fault}")
        try:
            workload = await self._pods.top_owner(pod)
        except msgspec.DecodeError as error:
            raise errors.Unreachable("the API server's answer about the pod's owner is not one; try again") from error
        return PodIdentity(pod, workload, claims.expires_at)

    async def _claims(self, token: str) -> Claims:
        try:
            return await self._verifier.verify(token)
        except Unverifiable:
            return await self._reviewer.review(token)


def _bearer(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != _SCHEME or not token or not token.isascii() or not token.isprintable():
        raise Refused("no bearer token; mount the projected token of audience kagenti-xds")
    return token


def _fault(pod: StoredPod | None, claims: Claims) -> str:
    """Returns why a pod gets nothing, as the end of a sentence; empty when it does."""
    if pod is None:
        return "does not exist any more"
    if (pod.namespace, pod.name) != (claims.namespace, claims.pod_name):
        return "is not the one of that uid"
    if pod.service_account != claims.service_account:
        return "has another service account than the token"
    if pod.finished:
        return "has ended"
    if not pod.managed or not pod.receipt:
        return "is not injected by kagenti"
    return ""
