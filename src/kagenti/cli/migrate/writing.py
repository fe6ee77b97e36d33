"""What a migration writes: manifests by server-side apply, patches, files; nothing is deleted, and nobody's field is taken."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import orjson

from kagenti import errors
from kagenti.cli import scalars
from kagenti.cli.migrate.sources import Gathered, path_of
from kagenti.core.migration import mapping
from kagenti.core.migration.patches import WorkloadPatch
from kagenti.kube.client import KubeClient
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a manifest

_SHOWN: Final = 3  # paths that a line names
MANAGER: Final = "kagenti-migrate"
_PLURALS: Final = {
    "AgentRuntimeClusterConfig": "agentruntimeclusterconfigs",
    "AgentRuntimeConfig": "agentruntimeconfigs",
    "AgentRuntime": "agentruntimes",
    "AgentCard": "agentcards",
}


def text(manifests: Sequence[JSON]) -> str:
    """Returns manifests as a YAML stream that kubectl reads alike."""
    return "".join(f"---\n{scalars.text(manifest)}" for manifest in manifests)


def write(folder: Path, manifests: Sequence[JSON]) -> list[str]:
    """Writes one file for each manifest; returns their names in the order of application."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = []
        for number, (manifest, name) in enumerate(zip(manifests, mapping.names(manifests), strict=True), 1):
            file = f"{number:02}-{name.lower().replace(' ', '-').replace('/', '-')}.yaml"
            (folder / file).write_text(text([manifest]), encoding="utf-8")
            names.append(file)
    except OSError as problem:
        raise errors.UsageError(
            f"{str(folder)!r} cannot be written: {problem.strerror}; name another --output-dir"
        ) from problem
    return names


async def apply(client: KubeClient, manifests: Sequence[JSON], *, replace: bool = False) -> tuple[list[str], list[str]]:
    """Applies manifests; returns the lines of what was done and of what was not.

    A field that somebody else owns stays theirs: the API server refuses (conflict), and the line says which. What an earlier
    run applied is taken away with ``replace`` only: ConfigMaps that are deleted meanwhile must change nothing.
    """
    done, refused = [], []
    for manifest, name in zip(manifests, mapping.names(manifests), strict=True):
        path = _path(manifest)
        live = await _live(client, path)
        before = (live.get("metadata") or {}).get("resourceVersion")
        missing = [] if replace else sorted(owned(live) - set(_paths(manifest)))
        if missing:
            what = f"{', '.join(missing[:_SHOWN])}{', …' if missing[_SHOWN:] else ''}"
            refused.append(
                f"{name}: not applied: it would take {what} away, which an earlier run set; say --replace if it may"
            )
            continue
        try:
            body = await client.request(
                "PATCH",
                path,
                params={"fieldManager": MANAGER},
                body=orjson.dumps(manifest),
                content_type="application/apply-patch+yaml",  # JSON is YAML; there is no other type for it
            )
        except errors.Conflict as problem:
            refused.append(f"{name}: not applied, somebody else owns a field of it: {problem}")
            continue
        except (errors.Forbidden, errors.NotFound) as problem:
            refused.append(f"{name}: not applied: {problem}")
            continue
        after = orjson.loads(body)["metadata"].get("resourceVersion")
        done.append(f"{name} {'unchanged' if before is not None and before == after else 'applied'}")
    return done, refused


async def _live(client: KubeClient, path: str) -> JSON:
    try:
        return orjson.loads(await client.get(path))
    except (errors.NotFound, errors.Forbidden):
        return {}  # the write says what is wrong


def owned(live: JSON) -> set[str]:
    """Returns the paths of a live object that an earlier run of this command set (Kubernetes: field management)."""
    found: set[str] = set()
    for entry in (live.get("metadata") or {}).get("managedFields") or ():
        if entry.get("manager") == MANAGER:
            found |= set(_owned(entry.get("fieldsV1") or {}, ""))
    return found


def _owned(fields: JSON, above: str) -> Iterator[str]:
    """Yields the leaves of a fieldsV1 set below spec, as dotted paths; ``.`` is the parent itself, ``v:`` and ``k:`` list items."""
    inner = {key: value for key, value in fields.items() if key.startswith("f:")}
    for key, value in inner.items():
        yield from _owned(value, f"{above}.{key.removeprefix('f:')}" if above else key.removeprefix("f:"))
    if not inner and above.startswith("spec."):
        yield above


def _paths(node: JSON, above: str = "") -> Iterator[str]:
    """Yields every path of a manifest, of leaves and of what is above them."""
    for key, value in node.items():
        path = f"{above}.{key}" if above else key
        yield path
        if isinstance(value, Mapping):
            yield from _paths(value, path)


def _path(manifest: JSON) -> str:
    metadata = manifest["metadata"]
    name = quote(metadata["name"], safe="")
    if manifest["kind"] == "Namespace":
        return f"/api/v1/namespaces/{name}"
    base = f"/apis/{wellknown.API_VERSION}"
    place = f"/namespaces/{quote(metadata['namespace'], safe='')}" if metadata.get("namespace") else ""
    return f"{base}{place}/{_PLURALS[manifest['kind']]}/{name}"


async def patch(client: KubeClient, wanted: WorkloadPatch, found: Gathered) -> None:
    """Carries one patch out; raises ClusterError where the workload has changed since it was read."""
    await client.request(
        "PATCH",
        path_of(wanted.workload.subject.owner, found),
        params={"fieldManager": MANAGER},
        body=orjson.dumps(wanted.guarded),
        content_type="application/json-patch+json",
    )
