"""What a migration writes: manifests by server-side apply, patches, files; nothing is deleted, and nobody's field is taken."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import orjson
from ruamel.yaml import YAML

from kagenti import errors
from kagenti.cli.migrate.sources import Gathered, path_of
from kagenti.cli.scalars import unambiguous
from kagenti.core.migration import mapping
from kagenti.core.migration.patches import WorkloadPatch
from kagenti.kube.client import KubeClient
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a manifest

_UNFOLDED: Final = 1 << 24  # longer than any line: no value is folded
MANAGER: Final = "kagenti-migrate"
_PLURALS: Final = {
    "AgentRuntimeClusterConfig": "agentruntimeclusterconfigs",
    "AgentRuntimeConfig": "agentruntimeconfigs",
    "AgentRuntime": "agentruntimes",
    "AgentCard": "agentcards",
}


def text(manifests: Sequence[JSON]) -> str:
    """Returns manifests as a YAML stream that kubectl reads alike."""
    yaml, out = YAML(pure=True), io.StringIO()
    yaml.width = _UNFOLDED
    for manifest in manifests:
        out.write("---\n")
        yaml.dump(unambiguous(manifest), out)
    return out.getvalue()


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


async def apply(client: KubeClient, manifests: Sequence[JSON]) -> tuple[list[str], list[str]]:
    """Applies manifests; returns the lines of what was done and of what was not.

    A field that somebody else owns stays theirs: the API server refuses (conflict), and the line says which.
    """
    done, refused = [], []
    for manifest, name in zip(manifests, mapping.names(manifests), strict=True):
        path = _path(manifest)
        before = await _version(client, path)
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
        done.append(f"{name} {'unchanged' if before == after else 'applied'}")
    return done, refused


async def _version(client: KubeClient, path: str) -> str | None:
    try:
        found: str | None = orjson.loads(await client.get(path))["metadata"].get("resourceVersion")
    except (errors.NotFound, errors.Forbidden):
        return None
    return found


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
