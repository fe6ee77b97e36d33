"""The objects that AgentRuntimes target: any kind by discovery, one watch for each kind that is targeted at all.

What a kind needs no right for is known anyway: its pods, through their owner references. Without the right to read it the
state is ``forbidden`` and says which right is missing; secrets and the like are never asked for.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import orjson

from kagenti import errors
from kagenti.core import rollout, validation, workload
from kagenti.core.reconcile import Target
from kagenti.core.store import Store
from kagenti.core.workload import WorkloadRef
from kagenti.kube import Kind, KubeClient, Reflector
from kagenti.operator.discovery import discover
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw workload

GroupKind = tuple[str, str]
OnTarget = Callable[[WorkloadRef], None]

MOST_KINDS: Final = 64
"""Kinds watched at once: a targetRef may name anything."""
LOOK_AGAIN: Final = 15.0
"""Seconds before a kind that does not exist, or that could not be looked up, is looked up again."""
_POLL: Final = 0.25  # seconds between two looks at a watch that has no list yet
_POD: Final[GroupKind] = ("", "Pod")
_FORBIDDEN, _UNKNOWN = "answered 403", "answered 404"  # how kube.client reports the status of an answer


class StoredTarget(msgspec.Struct, frozen=True):
    """One object of a targeted kind, as far as status reads it."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    facts: Target
    controller: rollout.Controller


@dataclass(frozen=True, slots=True)
class Known:
    """How the pods of a target come and go, and which object that is; ``uid`` is empty where it was not read."""

    uid: str
    controller: rollout.Controller


def _decode(raw: msgspec.Raw | bytes) -> StoredTarget:
    manifest = orjson.loads(bytes(raw))
    metadata = manifest["metadata"]
    return StoredTarget(
        namespace=metadata.get("namespace") or "",
        name=metadata["name"],
        uid=metadata.get("uid") or "",
        resource_version=metadata.get("resourceVersion") or "",
        facts=facts_of(manifest),
        controller=rollout.read(manifest),
    )


def facts_of(manifest: JSON) -> Target:
    """Returns what is known of a target that was read, raw."""
    namespace = manifest["metadata"].get("namespace") or ""
    owner = workload.controller_reference(manifest)
    subject = workload.subject_of(manifest, namespace=namespace)
    spec = manifest.get("spec")
    return Target(
        "found",
        owned_by=owner.workload(namespace) if owner else None,
        has_template=subject is not None,
        inject_label=subject.labels.get(wellknown.INJECT_LABEL) if subject else None,
        own_labels=_ours((subject.labels_of_workload if subject else None) or {}),
        idle=_idle(manifest.get("kind", ""), spec if isinstance(spec, dict) else {}),
    )


def _ours(labels: JSON) -> dict[str, str]:
    return {key: labels[key] for key in (wellknown.INJECT_LABEL, wellknown.TYPE_LABEL) if key in labels}


def _idle(kind: str, spec: JSON) -> bool:
    """Whether a workload wants no pod now, by the fields that the built-in kinds and their like have."""
    return kind == "CronJob" or spec.get("replicas") == 0 or spec.get("suspend") is True


@dataclass(slots=True)
class _Watch:
    """One kind: its store once it is watched, and what stands in the way otherwise."""

    kind: GroupKind
    plural: str = ""
    store: Store[StoredTarget] | None = None
    reflector: Reflector[StoredTarget] | None = None
    why: str = ""
    exists: bool | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The kind for people."""
        return f"{self.plural or self.kind[1]}.{self.kind[0]}".rstrip(".")

    @property
    def problem(self) -> str:
        """What the watch last stumbled over."""
        return self.reflector.problem if self.reflector is not None else ""

    def state(self) -> tuple[bool, str, bool | None]:
        """Returns what may change without an event: synced, problem, existence."""
        return (self.store is not None and self.store.synced, self.problem[:80], self.exists)


class Targets:
    """The targeted kinds of one process. ``pods`` answers for targets of kind Pod, which are watched anyway."""

    def __init__(self, client: KubeClient, *, pods: Callable[[str, str], Target], logger: logging.Logger) -> None:
        self._client, self._pods, self._logger = client, pods, logger
        self._watches: dict[GroupKind, _Watch] = {}
        self._wanted: set[GroupKind] = set()
        self._wake = asyncio.Event()
        self._listeners: list[OnTarget] = []
        self._kind_listeners: list[Callable[[GroupKind], None]] = []

    def on_target(self, listener: OnTarget) -> None:
        """Calls ``listener`` with every target that is another than before."""
        self._listeners.append(listener)

    def on_kind(self, listener: Callable[[GroupKind], None]) -> None:
        """Calls ``listener`` with every kind of which more or less is known than before."""
        self._kind_listeners.append(listener)

    def want(self, kinds: Collection[GroupKind]) -> None:
        """Has these kinds watched, and no others; those without pods never are."""
        wanted = {kind for kind in kinds if kind != _POD and not validation.target_kind(WorkloadRef(*kind, "", ""))}
        self._wanted = set(sorted(wanted)[:MOST_KINDS])
        self._wake.set()

    def settled(self, kind: GroupKind) -> bool:
        """Whether it is known by now what can be known of a kind."""
        watch = self._watches.get(kind)
        if kind not in self._wanted:  # pods, what has no pods, and what there is no room for
            return True
        return watch is not None and (watch.state()[0] or bool(watch.problem or watch.why) or watch.exists is False)

    def find(self, target: WorkloadRef) -> Target:
        """Returns what is known of a target now."""
        kind = (target.group, target.kind)
        if kind == _POD:
            return self._pods(target.namespace, target.name)
        watch = self._watches.get(kind)
        if watch is None:
            return Target("unread", f"{target.kind} is not watched: AgentRuntimes name more than {MOST_KINDS} kinds")
        if watch.exists is False or _UNKNOWN in watch.problem:
            return Target("missing", f"the cluster has no kind {target.kind} in group {target.group or 'core'}")
        if _FORBIDDEN in watch.problem:
            return Target("forbidden", _grant(watch))
        if watch.store is None or not watch.store.synced:
            return Target("unread", watch.why or watch.problem or f"{watch.name} are being read")
        found = watch.store.get(target.namespace, target.name)
        return found.facts if found is not None else Target("missing")

    def controller(self, target: WorkloadRef) -> Known:
        """Returns what is known of how a target's pods come and go."""
        watch = self._watches.get((target.group, target.kind))
        store = watch.store if watch is not None else None
        found = store.get(target.namespace, target.name) if store is not None else None
        return Known("", rollout.unknown(target)) if found is None else Known(found.uid, found.controller)

    def feeds(self) -> dict[str, Reflector[StoredTarget]]:
        """Returns the reflectors of kinds that may be read, by plural."""
        return {
            watch.plural: watch.reflector
            for watch in self._watches.values()
            if watch.reflector is not None and watch.store is not None and watch.store.synced
        }

    async def run(self) -> None:
        """Watches what is wanted until cancelled."""
        try:
            while True:
                await self._adjust()
                try:
                    async with asyncio.timeout(_POLL if self._unsettled() else None):
                        await self._wake.wait()
                except TimeoutError:
                    pass
                self._wake.clear()
        finally:
            await self._end(list(self._watches))

    def _unsettled(self) -> bool:
        return any(not (watch.store is not None and watch.store.synced) for watch in self._watches.values())

    async def _adjust(self) -> None:
        await self._end([kind for kind in self._watches if kind not in self._wanted])
        for kind in self._wanted - self._watches.keys():
            watch = self._watches[kind] = _Watch(kind)
            watch.task = asyncio.create_task(self._follow(watch), name=f"targets {kind[1]}")

    async def _end(self, kinds: list[GroupKind]) -> None:
        tasks = [watch.task for kind in kinds if (watch := self._watches.pop(kind)).task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, watch: _Watch) -> None:
        """Looks one kind up and watches it until cancelled; says so whenever what is known of it changes."""
        reflecting: asyncio.Task[None] | None = None
        try:
            known = watch.state()
            while True:
                if reflecting is None and await self._looked_up(watch):
                    reflecting = asyncio.create_task(self._reflector(watch).run())
                if known != watch.state():
                    known = watch.state()
                    self._tell_kind(watch.kind)
                await asyncio.sleep(LOOK_AGAIN if reflecting is None else _POLL if not known[0] else 5.0)
                if reflecting is not None and reflecting.done():
                    await reflecting
        finally:
            if reflecting is not None:
                reflecting.cancel()
                await asyncio.gather(reflecting, return_exceptions=True)

    async def _looked_up(self, watch: _Watch) -> bool:
        try:
            served = await discover(self._client, *watch.kind)
        except errors.ClusterError as problem:
            watch.why = f"{watch.name} could not be looked up: {problem}"
            return False
        watch.exists, watch.why = served is not None, ""
        if served is None:
            return False
        watch.plural = served.plural
        kind = Kind(watch.kind[1], served.path, served.plural, _decode)
        store = Store[StoredTarget]()
        store.on_change(lambda old, new: self._changed(watch.kind, old, new))
        watch.store, watch.reflector = store, Reflector(self._client, kind, store)
        return True

    def _reflector(self, watch: _Watch) -> Reflector[StoredTarget]:
        if watch.reflector is None:
            raise errors.Defect(f"{watch.name} has been looked up and has no reflector")
        return watch.reflector

    def _changed(self, kind: GroupKind, old: StoredTarget | None, new: StoredTarget | None) -> None:
        either = new or old
        if either is None or (old is not None and new is not None and _same(old, new)):
            return
        for listener in self._listeners:
            listener(WorkloadRef(*kind, either.namespace, either.name))

    def _tell_kind(self, kind: GroupKind) -> None:
        for listener in self._kind_listeners:
            listener(kind)


def _same(one: StoredTarget, other: StoredTarget) -> bool:
    return msgspec.structs.replace(one, resource_version=other.resource_version) == other


def _grant(watch: _Watch) -> str:
    group = watch.kind[0] or '""'
    return (
        f"kagenti-operator may not list and watch {watch.name}; name it in the chart's extraWorkloadKinds, or give a "
        f"ClusterRole with list and watch on {watch.plural} of {group} the label kagenti.io/aggregate-to-operator"
    )
