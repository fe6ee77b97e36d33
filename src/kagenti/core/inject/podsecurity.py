"""Would the namespace's PodSecurity level refuse what we add? Names the failing controls and the way out.

Looks at what is really added, so a layout that asks for less passes (Kubernetes: Pod Security Standards).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from kagenti.core.inject.refusal import POD_SECURITY, Refusal
from kagenti.core.sidecars import Sidecars
from kagenti.core.workload import Subject

JSON = Any  # a raw container

ENFORCE: Final = "pod-security.kubernetes.io/enforce"
_LEVELS: Final = ("baseline", "restricted")
_BASELINE_ADDS: Final = frozenset(
    {
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
        *("NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    }
)
_RESTRICTED_ADDS: Final = frozenset({"NET_BIND_SERVICE"})


def forbidden(subject: Subject, sidecars: Sidecars, labels: Mapping[str, str]) -> Iterator[Refusal]:
    """Yields a refusal where the namespace's label forbids the result; the cluster's default level cannot be seen here."""
    level = labels.get(ENFORCE, "privileged")
    if level not in _LEVELS:
        return
    found = [*_capabilities(sidecars, level), *_host_paths(sidecars), *_root(sidecars, level)]
    if found:
        controls = ", ".join(control for control, _, _ in found)
        ways = " and ".join(dict.fromkeys(way for _, _, way in found))
        message = (
            f"namespace {subject.namespace} enforces PodSecurity {level!r}, which forbids {controls}; "
            f"label the namespace {ENFORCE}=privileged, or {ways}"
        )
        yield Refusal(POD_SECURITY, message, found[0][1])


_Control = tuple[str, str, str]  # what is forbidden, its field, the way out


def _capabilities(sidecars: Sidecars, level: str) -> Iterator[_Control]:
    allowed = _RESTRICTED_ADDS if level == "restricted" else _BASELINE_ADDS
    for container in sidecars.init_containers:
        adds = (container["securityContext"].get("capabilities") or {}).get("add") or ()
        beyond = [name for name in adds if name not in allowed]
        if beyond:
            name = container["name"]
            what = f"{name}'s capabilities {' and '.join(beyond)}"
            yield what, f"spec.initContainers[{name}].securityContext.capabilities.add", _switch_off(sidecars)


def _host_paths(sidecars: Sidecars) -> Iterator[_Control]:
    for volume in sidecars.volumes:
        if "hostPath" in volume:
            name = volume["name"]
            yield f"the hostPath volume {name}", f"spec.volumes[{name}].hostPath", "set identity.spiffe.source CSI"


def _root(sidecars: Sidecars, level: str) -> Iterator[_Control]:
    for container in sidecars.init_containers:
        if level == "restricted" and container["securityContext"].get("runAsNonRoot") is not True:
            name = container["name"]
            yield (
                f"{name}'s root user",
                f"spec.initContainers[{name}].securityContext.runAsNonRoot",
                _switch_off(sidecars),
            )


def _switch_off(sidecars: Sidecars) -> str:
    """Returns the way to do without interception: its components off."""
    names = [
        sidecars.components[container["name"]]
        for container in sidecars.init_containers
        if (container["securityContext"].get("capabilities") or {}).get("add")
    ]
    return f"switch {' and '.join(f'components.{name}' for name in names)} off"
