"""How the injection policy of a namespace stands towards one subject: bound by Mandatory, exempt, or neither."""

from typing import Final, Literal, Protocol

import msgspec

from kagenti.core.settings.model import Source
from kagenti.core.trigger import reasons
from kagenti.core.workload import Subject, WorkloadRef

OwnerProof = Literal["holds", "broken", "unknown"]
"""Whether the top of an owner chain exists under its UID; unknown where nobody here may read its kind."""


class Policy(Protocol):
    """What the config kinds ask of a namespace (``core.settings.namespace_policy``)."""

    @property
    def mandatory(self) -> bool:
        """Whether every pod of the namespace is injected or denied."""

    @property
    def declared_by(self) -> Source | None:
        """The config that says so."""

    def is_exempt(self, owner: WorkloadRef, service_account: str) -> bool:
        """Whether the cluster exempts that owner or service account."""


class Standing(msgspec.Struct, frozen=True):
    """Whether Mandatory binds the subject, or the cluster exempts it, and what its author should know of that."""

    mandatory: bool
    exempt: bool
    warnings: tuple[str, ...] = ()


FREE: Final = Standing(mandatory=False, exempt=False)
"""Where injection is optional: nothing binds, so nobody needs to be exempt."""


def standing(policy: Policy, subject: Subject, proof: OwnerProof | None) -> Standing:
    """Returns how the policy stands; an exemption by an owner that was looked for and not found counts for nothing."""
    if not policy.mandatory:
        return FREE
    unproved = exempt_by_owner(policy, subject) and proof not in (None, "holds")
    exempt = policy.is_exempt(subject.owner, subject.service_account) and not unproved
    return Standing(not exempt, exempt, (_unproved(subject),) if unproved else ())


def exempt_by_owner(policy: Policy | None, subject: Subject) -> bool:
    """Whether a Mandatory policy exempts the subject for its owner alone: then the owner must be proved.

    A controller reference is the word of the pod's author; a service account is checked by the API server.
    """
    if policy is None or not policy.mandatory:
        return False
    nobody = WorkloadRef("", "", subject.namespace, "")
    account = subject.service_account
    return policy.is_exempt(subject.owner, account) and not policy.is_exempt(nobody, account)


def _unproved(subject: Subject) -> str:
    kind = f"{subject.owner.kind}.{subject.owner.group}".rstrip(".")
    return (
        f"{reasons.EXEMPT}: {subject.owner} is not exempt: kagenti may not read {kind}, so that nothing proves the "
        "owner; exempt its service account"
    )
