"""What one running pod is, by the webhook's own decision and comparison: current, stale, bare, opted out, foreign, tampered.

Nothing is believed that stands on the pod: its sidecars are compared with what the layers ask for now, and where they
differ, with what its receipt says they were built from (spec 06: receipts recomputed, not counted by label).
"""

import dataclasses
import datetime
import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import orjson

from kagenti.core import inject, settings
from kagenti.core.admission.evaluate import Context, Evaluation, complete, decide, locked_paths
from kagenti.core.inject import receipt as receipts
from kagenti.core.inject.patch import pointer
from kagenti.core.inject.refusal import FOREIGN_INTERCEPTOR, INTERCEPTION_NOT_ENFORCED, RESERVED_NAME
from kagenti.core.layers import Sources
from kagenti.core.settings.model import ResolvedSettings
from kagenti.core.settings.pod import for_pod
from kagenti.core.trigger import Coverage, Decision, OwnerProof, Trigger, reasons
from kagenti.core.workload import Subject
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw pod, receipt or JSON patch operation

State = Literal["current", "stale", "bare", "optedOut", "foreign", "tampered", "left"]
"""``left``: neither injected nor meant to be; its decision says why."""

_RECEIPT: Final = pointer("metadata", "annotations", wellknown.RECEIPT_ANNOTATION)
_CONFIG_HASH: Final = pointer("metadata", "annotations", wellknown.CONFIG_HASH_ANNOTATION)
# What differs between pods that are built alike, or between versions that build alike.
_CIRCUMSTANCES: Final = ("liveRevision", "trigger", "version")
_TYPE: Final = "type"
_AUTHORITY: Final = "xdsAuthority"
_BOOTSTRAP: Final = pointer("metadata", "annotations", wellknown.ENVOY_CONFIG_ANNOTATION)
# A certificate in PEM, as JSON or YAML write its line ends.
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----(?:\\n|\s)*", re.DOTALL)
_FOREIGN: Final = (FOREIGN_INTERCEPTOR, RESERVED_NAME)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a pod is, and why.

    ``fields`` are the settings by which a stale pod is behind. ``reason`` and ``message`` are the decision's, or say what
    was tampered with. ``withheld`` is set for a bare pod whose replacement would be no better: why. ``weak`` is why
    interception is not enforced on it; empty where it is. ``injected`` says whether it carries our sidecars.
    """

    state: State
    reason: str
    message: str
    fields: tuple[str, ...] = ()
    withheld: str = ""
    weak: str = ""
    called: bool = True
    trigger: str = ""

    @property
    def injected(self) -> bool:
        """Whether the pod carries our sidecars as its receipt says."""
        return self.state in ("current", "stale")


def judge(
    subject: Subject,
    *,
    sources: Sources,
    context: Context,
    namespace_labels: Mapping[str, str],
    coverage: Coverage,
    now: datetime.datetime,
    proof: OwnerProof | None = None,
    sound: bool = False,
) -> Judged:
    """Returns what one running pod is.

    Args:
        subject: The pod as the API server has it, under the top of its owner chain.
        sources: The layers in force.
        context: What is the same for every evaluation, as the webhook has it: its authority stands in each pod.
        namespace_labels: Labels of the namespace.
        coverage: How the webhook's entries cover the namespace.
        now: The clock, aware; nothing of the result depends on it.
        proof: What was found of the owner where an exemption hangs on it.
        sound: Whether this very pod has been found to be as its receipt says; that is not asked again.
    """
    recorded = receipts.read(subject)
    decision, resolved = decide(
        subject,
        sources=sources,
        context=context,
        namespace_labels=namespace_labels,
        coverage=coverage,
        # With target workloads what triggered a pod need not stand on it.
        again=_trigger(recorded) if context.by_workload else None,
        proof=proof,
    )
    if sound and recorded:
        outdated = _outdated(subject, recorded, decision, resolved, sources=sources, context=context)
        if outdated is not None:
            return outdated
    made = complete(
        decision, resolved, subject, sources=sources, context=context, namespace_labels=namespace_labels, now=now
    )
    if recorded is None:
        return _without_receipt(made)
    if not recorded:
        return _judged(made, "tampered", message="its receipt is not JSON")
    return _with_receipt(_Case(subject, recorded, made, sources, context), sound=sound)


def _trigger(recorded: Mapping[str, JSON] | None) -> Trigger | None:
    found = recorded.get("trigger") if recorded else None
    return next((known for known in get_args(Trigger) if known == found), None)


def _without_receipt(made: Evaluation) -> Judged:
    decision = made.decision
    if decision.injects:
        return _judged(made, "bare")
    if decision.outcome == "Deny":
        if decision.reason in _FOREIGN:
            return _judged(made, "foreign")
        return _judged(made, "bare", withheld=f"its replacement would be denied: {decision.reason}: {decision.message}")
    return _judged(made, "optedOut" if decision.reason == reasons.OPT_OUT else "left")


def _outdated(
    subject: Subject,
    recorded: Mapping[str, JSON],
    decision: Decision,
    resolved: ResolvedSettings | None,
    *,
    sources: Sources,
    context: Context,
) -> Judged | None:
    """Returns what a sound pod is where its restart settings alone tell, which saves building its sidecars anew.

    A change of a config makes pods of hundreds of workloads stale at once. None where the type label or the CA of the
    xDS server may tell something more, or another version built the pod.
    """
    if not decision.injects or resolved is None or recorded.get("version") != context.installation.version:
        return None
    fields = _differing(resolved, receipts.settings_of(recorded))
    label = subject.labels.get(wellknown.TYPE_LABEL, "")
    same_type = sources.runtime_type in ("", label) and not (recorded.get("labels") and not sources.runtime_type)
    bootstrap = subject.annotations.get(wellknown.ENVOY_CONFIG_ANNOTATION, "")
    if not fields or not same_type or _certificates(bootstrap) != _certificates(context.installation.xds_authority):
        return None
    return Judged("stale", decision.reason, decision.message, fields=fields, trigger=decision.trigger or "")


def _certificates(text: str) -> list[str]:
    """Returns the certificates of a text, whatever its line ends."""
    return [re.sub(r"\\n|\s", "", found) for found in _CERTIFICATE.findall(text)]


def _differing(resolved: ResolvedSettings, recorded: Mapping[str, JSON]) -> tuple[str, ...]:
    """Returns the restart settings that the next pod would have otherwise."""
    desired = _restart(resolved.restart_json)
    return tuple(sorted(path for path in desired.keys() | recorded.keys() if desired.get(path) != recorded.get(path)))


@dataclass(frozen=True, slots=True)
class _Case:
    """One pod with a receipt, and what the webhook would make of it now."""

    subject: Subject
    recorded: Mapping[str, JSON]
    made: Evaluation
    sources: Sources
    context: Context

    @property
    def restart(self) -> Mapping[str, JSON]:
        """The restart settings that the receipt records."""
        return receipts.settings_of(self.recorded)

    @property
    def same_version(self) -> bool:
        """Whether this version built the pod: another one may have built the same settings otherwise."""
        return bool(self.recorded.get("version") == self.context.installation.version)


def _with_receipt(case: _Case, *, sound: bool) -> Judged:
    made = case.made
    if made.injection is not None and not _telling(case, made.patch):
        return _judged(made, "current")
    difference = "" if sound else _tampered(case)
    if difference:
        return _judged(made, "tampered", message=f"{difference} is not as its receipt says")
    fields = _behind(case)
    if fields or not made.decision.injects or (case.same_version and _telling(case, made.patch)):
        return _judged(made, "stale", fields=fields)
    return _judged(made, "current")


def _telling(case: _Case, operations: Sequence[JSON]) -> list[JSON]:
    """Returns what injecting again would change besides the circumstances that the receipt records."""
    found = [operation for operation in operations if operation["path"] != _RECEIPT]
    written = next((operation.get("value") for operation in operations if operation["path"] == _RECEIPT), None)
    if written is not None and _content(orjson.loads(written)) != _content(case.recorded):
        found += [operation for operation in operations if operation["path"] == _RECEIPT]
    return found


def _content(receipt: Mapping[str, JSON]) -> JSON:
    return {key: value for key, value in receipt.items() if key not in _CIRCUMSTANCES}


def _behind(case: _Case) -> tuple[str, ...]:
    """Returns the restart settings that the next pod would have otherwise, and ``type`` where its label would differ."""
    resolved = case.made.settings
    if resolved is None:
        return ()
    paths = list(_differing(resolved, case.restart))
    label = pointer("metadata", "labels", wellknown.TYPE_LABEL)
    if any(operation["path"] == label for operation in case.made.patch):
        paths.append(_TYPE)
    if any(_certificates_alone(case, operation) for operation in case.made.patch):
        paths.append(_AUTHORITY)
    return tuple(paths)


def _certificates_alone(case: _Case, operation: JSON) -> bool:
    """Whether an operation would give the pod another CA of the xDS server, and change nothing else of that file."""
    if operation["path"] != _BOOTSTRAP or "value" not in operation:
        return False
    found = case.subject.annotations.get(wellknown.ENVOY_CONFIG_ANNOTATION, "")
    return bool(_CERTIFICATE.sub("", operation["value"]) == _CERTIFICATE.sub("", found))


@functools.lru_cache(maxsize=1024)
def _restart(text: bytes) -> Mapping[str, JSON]:
    found: Mapping[str, JSON] = orjson.loads(text)
    return found


def _tampered(case: _Case) -> str:
    """Returns what of the pod is not as its receipt says; empty when all is."""
    annotations = case.subject.annotations
    files = case.recorded.get("files")
    for key, digest in files.items() if isinstance(files, Mapping) else ():
        if hashlib.sha256(str(annotations.get(key, "")).encode()).hexdigest() != digest:
            return f"annotation {key}"
    present = {container.get("name") for container in case.subject.spec.get("initContainers") or ()}
    for name in case.recorded.get("containers") or ():
        if name not in present:
            return f"container {name}"
    return _rebuilt_otherwise(case) if case.same_version and case.made.settings is not None else ""


def _rebuilt_otherwise(case: _Case) -> str:
    """Builds the pod's sidecars again from its receipt, and returns the first part that comes out otherwise."""
    today, locked = case.made.settings, locked_paths(case.sources, mandatory=case.made.decision.mandatory)
    if today is None:
        return ""
    own = _as_recorded(today, case.restart)
    context, subject = case.context, case.subject
    built = context.sidecars.build(own, subject=subject, installation=context.installation, locked=locked)
    if list(built.names) != case.recorded.get("containers"):
        return ""  # other opt-outs bind it today than then: nothing that the pod could be held against
    stamp = inject.Stamp(
        trigger=str(case.recorded.get("trigger")),
        now="",
        version=context.installation.version,
        layout=case.recorded.get("layout") or 0,
    )
    labels = case.recorded.get("labels") or ()
    given = subject.labels.get(wellknown.TYPE_LABEL, "") if wellknown.TYPE_LABEL in labels else ""
    made = inject.inject(subject, built, settings=own, stamp=stamp, type_from_runtime=given)
    if isinstance(made, inject.Refusal):
        return ""
    # The CA is the installation's, and may have changed since; the file is as it was written then (its hash was right).
    telling = [found for found in _telling(case, made.operations) if not _certificates_alone(case, found)]
    if len(telling) < len(_telling(case, made.operations)):
        telling = [found for found in telling if found["path"] != _RECEIPT or not _files_alone(case, found)]
    return _part(telling) if telling else ""


def _files_alone(case: _Case, operation: JSON) -> bool:
    """Whether the receipt would change in the hashes of files only."""
    written, recorded = _content(orjson.loads(operation["value"])), _content(case.recorded)
    return bool({**written, "files": None} == {**recorded, "files": None})


def _as_recorded(today: ResolvedSettings, restart: Mapping[str, JSON]) -> ResolvedSettings:
    """Returns the settings that a pod was built from; what only lives in Envoy is today's."""
    own = for_pod(today, restart)
    recorded = settings.canonical(dict(restart))
    return dataclasses.replace(
        own,
        values={**own.values, **restart},
        restart_json=recorded,
        restart_revision=hashlib.sha256(recorded).hexdigest(),
    )


def _part(operations: Sequence[JSON]) -> str:
    """Returns what the first operation that is about more than our bookkeeping would mend, for people."""
    paths = [operation["path"] for operation in operations]
    telling = [path for path in paths if path not in (_RECEIPT, _CONFIG_HASH)] or paths
    return ".".join(key.replace("~1", "/").replace("~0", "~") for key in telling[0].split("/")[1:])


def _judged(
    made: Evaluation, state: State, *, message: str = "", fields: tuple[str, ...] = (), withheld: str = ""
) -> Judged:
    decision = made.decision
    weak = next((said for said in made.warnings if said.startswith(f"{INTERCEPTION_NOT_ENFORCED}: ")), "")
    return Judged(
        state,
        decision.reason,
        message or decision.message,
        fields=fields,
        withheld=withheld,
        weak=weak.partition(": ")[2],
        called=decision.called,
        trigger=decision.trigger or "",
    )
