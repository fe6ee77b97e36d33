"""What forbids or weakens the injection of this very pod, before it is patched: refusals and warnings of spec 04."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from kagenti.core.envoy import LAYOUT
from kagenti.core.inject import enforcement, foreign, neighbours, podsecurity, probes, receipt
from kagenti.core.inject.refusal import (
    FOREIGN_INTERCEPTOR,
    INTERCEPTION_NOT_ENFORCED,
    INVALID_VALUE,
    LAYOUT_UNSUPPORTED,
    PORT_COLLISION,
    PROXY_UID,
    RESERVED_NAME,
    Refusal,
)
from kagenti.core.settings import CONFIG_INVALID
from kagenti.core.settings.model import ResolvedSettings
from kagenti.core.sidecars import (
    RESERVED_VOLUMES,
    Placed,
    Sidecars,
    app_containers,
    declared,
    probe_bypasses,
    running,
)
from kagenti.core.workload import Subject
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a part of a raw pod

_UID: Final = "identity.outbound.trafficInterception.proxyUid"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_READ_ANNOTATIONS: Final = (wellknown.OUTBOUND_PORTS_EXCLUDE_ANNOTATION, wellknown.INBOUND_PORTS_EXCLUDE_ANNOTATION)


class _Case(msgspec.Struct, frozen=True):
    """What the checks read: the pod, what it would get, and the app's containers (all, and those that keep running)."""

    subject: Subject
    sidecars: Sidecars
    settings: ResolvedSettings
    app: tuple[Placed, ...]
    running: tuple[Placed, ...]


def preflight(
    subject: Subject,
    sidecars: Sidecars,
    settings: ResolvedSettings,
    *,
    mandatory: bool,
    namespace_labels: Mapping[str, str],
    locked: Sequence[str] = (),
) -> Refusal | tuple[str, ...]:
    """Returns the first refusal, or the warnings that the pod's author should read."""
    app = tuple(app_containers(subject, sidecars.reserved))
    case = _Case(subject, sidecars, settings, app, running(app))
    refusals = itertools.chain(
        _newer(case),
        _reserved(case),
        _consistent(case),
        _foreign(case),
        _proxy_uid(case),
        _ports(case),
        _values(case),
        podsecurity.forbidden(subject, sidecars, namespace_labels),
        probes.locked_out(case.running, sidecars, settings, locked),
    )
    for refusal in refusals:
        return refusal
    weak = list(enforcement.weaknesses(subject, app)) if sidecars.proxied else []
    if weak and mandatory:
        field, clause = weak[0]
        return Refusal(INTERCEPTION_NOT_ENFORCED, f"{clause}; under Mandatory such a pod is not admitted", field)
    told = [f"{INTERCEPTION_NOT_ENFORCED}: {clause}" for _, clause in weak]
    hooks = probes.hook_notes(case.running, sidecars, settings)
    return (*told, *probes.notes(case.running, sidecars), *hooks, *_env_from(case), *_ambient(case, namespace_labels))


def _newer(case: _Case) -> Iterator[Refusal]:
    """A newer version's containers cannot be told from the user's own, and two sets of sidecars cannot share a pod."""
    recorded = receipt.read(case.subject) or {}
    if receipt.is_newer(recorded):
        by = f"layout {recorded['layout']} of kagenti {str(recorded.get('version'))[:63]!r}"
        message = (
            f"the pod comes with {by}, newer than this webhook's {LAYOUT}; while an upgrade is under way try again; after a "
            f"rollback take the sidecars out by that version's `kagenti uninject`, or remove {wellknown.RECEIPT_ANNOTATION}"
        )
        field = f"metadata.annotations[{wellknown.RECEIPT_ANNOTATION}]"
        yield Refusal(LAYOUT_UNSUPPORTED, message, field)


def _reserved(case: _Case) -> Iterator[Refusal]:
    """Our names without our receipt are somebody's own containers: presence proves nothing."""
    known = receipt.read(case.subject) is not None
    hint = _lost_receipt(case.subject)
    for key in ("initContainers", "containers"):
        for index, container in enumerate(case.subject.spec.get(key) or ()):
            name = container.get("name", "")
            if name in case.sidecars.reserved and (not known or key == "containers"):
                yield _reserved_name(f"container {name!r}", f"spec.{key}[{index}].name", hint)
    for index, volume in enumerate(case.subject.spec.get("volumes") or ()):
        name = volume.get("name", "")
        if not known and name in RESERVED_VOLUMES:
            yield _reserved_name(f"volume {name!r}", f"spec.volumes[{index}].name", hint)
    for place, container in case.app:
        for index, mount in enumerate(container.get("volumeMounts") or ()):
            if mount.get("name") in RESERVED_VOLUMES:
                message = (
                    f"the app mounts {mount['name']!r}, a volume that kagenti injects for its own containers; {_OWN}"
                )
                yield Refusal(RESERVED_NAME, message, f"{place}.volumeMounts[{index}].name")


_RENAME: Final = (
    "rename it, or take it out where an older kagenti put it into the workload (kagenti migrate labels does)"
)
_OWN: Final = "mount a volume of its own"


def _reserved_name(what: str, field: str, hint: str = "") -> Refusal:
    return Refusal(
        RESERVED_NAME, f"{what} has a name that kagenti reserves for what it injects; {_RENAME}{hint}", field
    )


def _lost_receipt(subject: Subject) -> str:
    """Returns what else may have happened to a pod with our label and no receipt, as a clause."""
    if wellknown.MANAGED_LABEL not in subject.labels or wellknown.RECEIPT_ANNOTATION in subject.annotations:
        return ""
    others = " or ".join(neighbours.named(subject.annotations)) or "another webhook"
    return f", or, where it is ours, have {others} keep the annotation {wellknown.RECEIPT_ANNOTATION}"


def _consistent(case: _Case) -> Iterator[Refusal]:
    """What the pod's opt-outs and the settings make together must be able to start; a pod that waits for ever says less."""
    if case.sidecars.waits_for:
        label = wellknown.COMPONENT_OPT_OUT_LABELS["spiffeHelper"]
        message = (
            f"{case.sidecars.waits_for}, but spiffe-helper is off for this pod (label {label} or "
            "components.spiffeHelper.enabled), so it would wait for ever; leave it on, or set identity.spiffe.enabled false"
        )
        yield Refusal(CONFIG_INVALID, message, f"metadata.labels[{label}]")


def _foreign(case: _Case) -> Iterator[Refusal]:
    """Another mesh cannot share the pod's traffic; a pod that we do not intercept may be in one."""
    found = foreign.interceptor(case.app) if case.sidecars.proxied else None
    if found is not None:
        field, message = found
        yield Refusal(FOREIGN_INTERCEPTOR, message, field)


def _ambient(case: _Case, namespace_labels: Mapping[str, str]) -> Iterator[str]:
    """The ambient mesh shares the pod's network: outbound it comes behind Envoy, inbound it cannot pass by way of it."""
    validated = case.sidecars.bypasses is not None
    if validated and neighbours.in_ambient_mesh(case.subject.labels, namespace_labels):
        yield neighbours.ambient_note(excluded=neighbours.HBONE_PORT in case.sidecars.inbound_excluded)


def _proxy_uid(case: _Case) -> Iterator[Refusal]:
    if not case.sidecars.proxied:
        return
    uid = case.settings.number(_UID)
    pod = case.subject.spec.get("securityContext") or {}
    for place, container in case.app:
        own = container.get("securityContext") or {}
        user = _inherited("runAsUser", own, pod)
        if user == uid:
            who = f"user {uid}"
        elif user == wellknown.HELPER_USER and wellknown.HELPER_GROUP in _groups(own, pod):
            who = f"user {wellknown.HELPER_USER} and group {wellknown.HELPER_GROUP}, as spiffe-helper does"
        else:
            continue
        name, field = container.get("name", ""), "spec" if own.get("runAsUser") is None else place
        message = f"container {name!r} runs as {who}: such traffic is not intercepted; choose another runAsUser"
        yield Refusal(PROXY_UID, message, f"{field}.securityContext.runAsUser")


def _inherited(key: str, own: Mapping[str, JSON], pod: Mapping[str, JSON]) -> JSON:
    """Returns a field of a container's security context, or else the pod's; a file may spell out null."""
    value = own.get(key)
    return pod.get(key) if value is None else value


def _groups(own: Mapping[str, JSON], pod: Mapping[str, JSON]) -> set[JSON]:
    """Returns the groups of a container; whoever is in one can have it as its own by a setgid program."""
    return {_inherited("runAsGroup", own, pod), pod.get("fsGroup"), *(pod.get("supplementalGroups") or ())}


def _ports(case: _Case) -> Iterator[Refusal]:
    """A port, or a port's name, of the app that is one of ours: a Service would reach either by chance."""
    ours = {
        port["containerPort"]: (container["name"], port["name"])
        for container in case.sidecars.init_containers
        for port in container.get("ports") or ()
    }
    for number, (name, field) in declared(case.running).items():
        if number in ours:
            container, role = ours[number]
            message = f"container {name!r} declares port {number}, which is {container}'s {role}; use another port"
            yield Refusal(PORT_COLLISION, message, field)
    if wellknown.PROCESSOR_PORT in ours:
        yield from _opened_processor(case)
    names = {role for _, role in ours.values()}
    for place, found in case.running:
        for index, port in enumerate(found.get("ports") or ()):
            if port.get("name") in names:
                message = (
                    f"container {found.get('name', '')!r} names a port {port['name']!r}, as we name ours; rename it"
                )
                yield Refusal(PORT_COLLISION, message, f"{place}.ports[{index}].name")


def _opened_processor(case: _Case) -> Iterator[Refusal]:
    """What of the pod opens the AuthBridge image's processor, which exchanges tokens for whoever asks (spec 05)."""
    port = wellknown.PROCESSOR_PORT
    why = f"opens port {port}, where the AuthBridge image's processor exchanges tokens for whoever asks"
    if port in case.sidecars.inbound_excluded:
        key = wellknown.INBOUND_PORTS_EXCLUDE_ANNOTATION
        yield Refusal(PORT_COLLISION, f"annotation {key} {why}; take it off the list", f"metadata.annotations[{key}]")
    if not case.sidecars.redirected and case.settings.flag("identity.enabled"):
        label = wellknown.COMPONENT_OPT_OUT_LABELS["proxyInit"]
        yield Refusal(PORT_COLLISION, f"label {label} {why}; take it off", f"metadata.labels[{label}]")


def _values(case: _Case) -> Iterator[Refusal]:
    """Nothing that we copy, from the pod or from a setting, may hold a newline or another control character."""
    subject = case.subject
    read = [(f"metadata.annotations[{key}]", subject.annotations.get(key, "")) for key in _READ_ANNOTATIONS]
    read += [("spec.serviceAccountName", subject.service_account), ("metadata.namespace", subject.namespace)]
    read += [(f"{place}.name", container.get("name", "")) for place, container in case.app]
    read += [(found.field, found.path) for found in probe_bypasses(case.running)]
    for field, value in read:
        if _CONTROL.search(value):
            yield Refusal(INVALID_VALUE, f"{value[:80]!r} has a control character; remove it", field)
    for name in case.sidecars.invalid:
        message = f"{name} would have a value with a control character; correct the workload's name or the setting"
        yield Refusal(INVALID_VALUE, message, "spec")


def _env_from(case: _Case) -> Iterator[str]:
    for place, container in case.app:
        if place.startswith("spec.containers") and container.get("envFrom"):
            name = container.get("name", "")
            yield f"container {name!r} has envFrom: where that holds a name that we set in env, ours wins"
