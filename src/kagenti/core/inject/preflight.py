"""What forbids or weakens the injection of this very pod, before anything is built: refusals and warnings of spec 04."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from kagenti.core.inject import receipt
from kagenti.core.inject.refusal import (
    FOREIGN_INTERCEPTOR,
    INTERCEPTION_NOT_ENFORCED,
    INVALID_VALUE,
    POD_SECURITY,
    PORT_COLLISION,
    PROXY_UID,
    RESERVED_NAME,
    Refusal,
)
from kagenti.core.settings.model import ResolvedSettings
from kagenti.core.sidecars import declared, opaque_probes, probe_bypasses
from kagenti.core.workload import Subject
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a part of a raw pod

_INTERCEPTION: Final = "identity.outbound.trafficInterception"
_BYPASS: Final = "identity.inbound.validation.bypassPaths"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_READ_ANNOTATIONS: Final = (wellknown.OUTBOUND_PORTS_EXCLUDE_ANNOTATION, wellknown.INBOUND_PORTS_EXCLUDE_ANNOTATION)
_ENFORCE: Final = "pod-security.kubernetes.io/enforce"
_FOREIGN: Final = {
    "istio-proxy": ("istio/proxyv2", "istio-proxy", "Istio"),
    "istio-init": ("istio", "istio-iptables", "Istio"),
    "istio-validation": ("istio", "istio-iptables", "Istio"),
    "linkerd-proxy": ("linkerd/proxy", "linkerd2-proxy", "Linkerd"),
    "linkerd-init": ("linkerd/proxy-init", "proxy-init", "Linkerd"),
    "linkerd-network-validator": ("linkerd", "validator", "Linkerd"),
}

Containers = Sequence[Mapping[str, JSON]]


def preflight(
    subject: Subject,
    settings: ResolvedSettings,
    *,
    mandatory: bool,
    namespace_labels: Mapping[str, str],
    locked: Sequence[str] = (),
) -> Refusal | tuple[str, ...]:
    """Returns the first refusal, or the warnings that the pod's author should read."""
    checks: tuple[Callable[[], Iterator[Refusal]], ...] = (
        lambda: _reserved(subject),
        lambda: _foreign(subject),
        lambda: _proxy_uid(subject, settings),
        lambda: _ports(subject, settings),
        lambda: _values(subject),
        lambda: _pod_security(subject, namespace_labels),
        lambda: _locked_probes(subject, settings, locked),
    )
    for check in checks:
        refusal = next(check(), None)
        if refusal is not None:
            return refusal
    weak = list(_not_enforced(subject))
    if weak and mandatory:
        return Refusal(INTERCEPTION_NOT_ENFORCED, f"{weak[0]}; under Mandatory such a pod is not admitted", "spec")
    return tuple([f"{INTERCEPTION_NOT_ENFORCED}: {found}" for found in weak] + list(_notes(subject, settings)))


def _all_containers(subject: Subject) -> Iterator[tuple[str, Mapping[str, JSON]]]:
    for key in ("initContainers", "containers"):
        for index, container in enumerate(subject.spec.get(key) or ()):
            yield f"spec.{key}[{index}]", container


def _app(subject: Subject) -> Iterator[tuple[str, Mapping[str, JSON]]]:
    for place, container in _all_containers(subject):
        if container.get("name") not in wellknown.RESERVED_CONTAINERS:
            yield place, container


def _reserved(subject: Subject) -> Iterator[Refusal]:
    """Our names without our receipt are somebody's own containers: presence proves nothing."""
    known = receipt.read(subject) is not None
    for place, container in _all_containers(subject):
        name = container.get("name", "")
        if name in wellknown.RESERVED_CONTAINERS and (not known or place.startswith("spec.containers")):
            yield _reserved_name(f"container {name!r}", f"{place}.name")
    for index, volume in enumerate(subject.spec.get("volumes") or ()):
        name = volume.get("name", "")
        if not known and name.startswith(wellknown.RESERVED_VOLUME_PREFIX):
            yield _reserved_name(f"volume {name!r}", f"spec.volumes[{index}].name")
    for place, container in _app(subject):
        for index, mount in enumerate(container.get("volumeMounts") or ()):
            if str(mount.get("name", "")).startswith(wellknown.RESERVED_VOLUME_PREFIX):
                yield _reserved_name(f"mount of {mount['name']!r}", f"{place}.volumeMounts[{index}].name")


def _reserved_name(what: str, field: str) -> Refusal:
    return Refusal(RESERVED_NAME, f"{what} has a name that kagenti reserves for what it injects; rename it", field)


def _foreign(subject: Subject) -> Iterator[Refusal]:
    for place, container in _all_containers(subject):
        shape = _FOREIGN.get(container.get("name", ""))
        if shape is None:
            continue
        image, word, mesh = shape
        text = " ".join([*(container.get("command") or ()), *(container.get("args") or ())])
        if (
            image in str(container.get("image", ""))
            or word in text
            or container.get("name", "").startswith(word.split("-", maxsplit=1)[0])
        ):
            message = (
                f"container {container['name']!r} is {mesh}'s interceptor; two cannot redirect one pod's traffic: "
            )
            way = "use Istio's ambient mode" if mesh == "Istio" else "leave this pod out of the Linkerd mesh"
            yield Refusal(FOREIGN_INTERCEPTOR, f"{message}{way} (ambient is fine), or do not inject it", place)


def _proxy_uid(subject: Subject, settings: ResolvedSettings) -> Iterator[Refusal]:
    uid = settings.number(f"{_INTERCEPTION}.proxyUid")
    pod = (subject.spec.get("securityContext") or {}).get("runAsUser")
    for place, container in _app(subject):
        own = (container.get("securityContext") or {}).get("runAsUser", pod)
        if own == uid:
            name = container.get("name", "")
            message = (
                f"container {name!r} runs as user {uid}, whose traffic is not intercepted; choose another runAsUser"
            )
            yield Refusal(PROXY_UID, message, f"{place}.securityContext.runAsUser")


def _ports(subject: Subject, settings: ResolvedSettings) -> Iterator[Refusal]:
    ours = {
        settings.number(f"{_INTERCEPTION}.proxyPort"): "Envoy's outbound port",
        settings.number(f"{_INTERCEPTION}.inboundProxyPort"): "Envoy's inbound port",
        wellknown.STATUS_PORT: "Envoy's status port",
    }
    for port, container in declared(subject).items():
        if port in ours:
            message = f"container {container!r} declares port {port}, which is {ours[port]}; use another port"
            yield Refusal(PORT_COLLISION, message, "spec.containers[*].ports")


def _values(subject: Subject) -> Iterator[Refusal]:
    for key in _READ_ANNOTATIONS:
        value = subject.annotations.get(key, "")
        if _CONTROL.search(value):
            yield Refusal(
                INVALID_VALUE,
                f"annotation {key} is {value!r}: it has a control character",
                f"metadata.annotations[{key}]",
            )
    for field, value in (("serviceAccountName", subject.service_account), ("namespace", subject.namespace)):
        if _CONTROL.search(value):
            yield Refusal(INVALID_VALUE, f"{field} is {value!r}: it has a control character", f"spec.{field}")


def _pod_security(subject: Subject, labels: Mapping[str, str]) -> Iterator[Refusal]:
    """The cluster's default level cannot be seen from here; the namespace's label can (Pod Security Standards)."""
    level = labels.get(_ENFORCE, "privileged")
    if level in ("baseline", "restricted"):
        message = (
            f"namespace {subject.namespace} enforces PodSecurity {level!r}, which forbids proxy-init's capability NET_ADMIN; "
            f"label the namespace {_ENFORCE}=privileged, or switch components.proxyInit and components.envoyProxy off"
        )
        yield Refusal(POD_SECURITY, message, "spec.initContainers[proxy-init].securityContext.capabilities.add")


def _locked_probes(subject: Subject, settings: ResolvedSettings, locked: Sequence[str]) -> Iterator[Refusal]:
    """Where bypassPaths is locked, a probe may not open a path of its own."""
    if not any(path == _BYPASS or _BYPASS.startswith(f"{path}.") for path in locked):
        return
    allowed = settings.items(_BYPASS)
    for bypass in probe_bypasses(subject):
        if not any(_allows(pattern, bypass.path) for pattern in allowed):
            message = f"{bypass.probe} of container {bypass.container!r} asks for {bypass.path!r}, which the locked {_BYPASS} does not list"
            yield Refusal(
                "ConfigInvalid", f"{message}; use a listed path", f"spec.containers[{bypass.container}].{bypass.probe}"
            )


def _allows(pattern: str, path: str) -> bool:
    if not pattern.endswith("/*"):
        return path == pattern
    rest = path.removeprefix(pattern[:-1])
    return rest != path and bool(rest) and "/" not in rest


def _not_enforced(subject: Subject) -> Iterator[str]:
    """Yields what would let the app undo the interception."""
    for key in ("hostPID", "shareProcessNamespace"):
        if subject.spec.get(key) is True:
            yield f"spec.{key} is true: the app can act as Envoy's user"
    for place, container in _app(subject):
        context = container.get("securityContext") or {}
        capabilities = (context.get("capabilities") or {}).get("add") or ()
        if context.get("privileged") is True:
            yield f"{place} is privileged: the app can remove the redirection"
        elif {"NET_ADMIN", "ALL", "CAP_NET_ADMIN"} & set(capabilities):
            yield f"{place} has NET_ADMIN: the app can remove the redirection"
        elif context.get("runAsUser") == 0 and {"SETUID", "CAP_SETUID"} & set(capabilities):
            yield f"{place} is root with SETUID: the app can act as Envoy's user"


def _notes(subject: Subject, settings: ResolvedSettings) -> Iterator[str]:
    excluded = settings.items("identity.inbound.excludePorts")
    if settings.flag("identity.enabled") and settings.flag("identity.inbound.enabled"):
        for name, probe, kind in opaque_probes(subject):
            how = f"use httpGet, or exclude its port (now {list(excluded)})"
            yield f"{probe} of container {name!r} is a {kind} probe: through Envoy it proves less; {how}"
    for _, container in _app(subject):
        if container.get("envFrom"):
            yield f"container {container['name']!r} has envFrom: where that holds a name that we set in env, ours wins"
