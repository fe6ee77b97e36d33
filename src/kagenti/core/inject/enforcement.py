"""What lets an app undo the interception, or act as Envoy's user: reasons to say that it is not enforced (spec 04)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from kagenti.core.sidecars import Placed
from kagenti.core.workload import Subject

JSON = Any  # a raw security context

_ALL: Final = "ALL"


def weaknesses(subject: Subject, containers: Iterable[Placed]) -> Iterator[tuple[str, str]]:
    """Yields (field, clause) for everything that would let the app undo the interception.

    A user that neither pod nor container names is the image's, which cannot be seen from here: it counts as root only
    where SETUID is asked for, because asking shows that it means something. The docs say that a root image stays unseen.
    """
    for key in ("hostPID", "shareProcessNamespace"):
        if subject.spec.get(key) is True:
            yield f"spec.{key}", f"spec.{key} is true: the app can act as Envoy's user"
    pod = subject.spec.get("securityContext") or {}
    for place, container in containers:
        context = container.get("securityContext") or {}
        own = context.get("runAsUser")  # a file may spell out null
        clause = _of_container(context, pod.get("runAsUser") if own is None else own)
        if clause:
            field, told = clause
            yield f"{place}.securityContext.{field}", f"{place} {told}"


def _of_container(context: Mapping[str, JSON], user: int | None) -> tuple[str, str] | None:
    capabilities = context.get("capabilities") or {}
    added, dropped = (_names(capabilities.get(key)) for key in ("add", "drop"))
    if context.get("privileged") is True:
        return "privileged", "is privileged: the app can remove the redirection"
    if added & {"NET_ADMIN", _ALL}:
        return "capabilities.add", "has NET_ADMIN: the app can remove the redirection"
    if user is None and "SETUID" in added:
        return "capabilities.add", "has SETUID and may be root: the app can act as Envoy's user"
    # Root has SETUID by default in containerd and CRI-O, unless it is dropped; added wins over dropped.
    if user == 0 and ("SETUID" in added or not dropped & {"SETUID", _ALL}):
        told = "is root with SETUID: the app can act as Envoy's user; set runAsUser, or drop SETUID or ALL"
        return "runAsUser", told
    return None


def _names(capabilities: JSON) -> set[str]:
    """Returns capabilities as runtimes read them: any case, with or without CAP_ (containerd, CRI-O)."""
    return {str(name).upper().removeprefix("CAP_") for name in capabilities or ()}
