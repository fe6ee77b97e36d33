"""Where a kind is served: group and kind → path of its list, by the API server's discovery documents."""

from dataclasses import dataclass
from typing import Protocol

import msgspec

from kagenti import errors


class Get(Protocol):
    """Reads one path as raw bytes; raises ClusterError."""

    async def get(self, path: str, *, timeout: float) -> bytes:
        """Returns the body."""


class _Version(msgspec.Struct, rename="camel", frozen=True):
    group_version: str = ""


class _Group(msgspec.Struct, rename="camel"):
    preferred_version: _Version = _Version()
    versions: list[_Version] = []


class _Resource(msgspec.Struct):
    name: str = ""
    kind: str = ""
    namespaced: bool = False
    verbs: list[str] = []


class _Resources(msgspec.Struct):
    resources: list[_Resource] = []


_groups = msgspec.json.Decoder(_Group)
_lists = msgspec.json.Decoder(_Resources)
_BUDGET = 5.0  # seconds for one document


@dataclass(frozen=True, slots=True)
class Served:
    """A kind that exists: its plural, and the path under which the objects of all namespaces are listed."""

    plural: str
    path: str


async def discover(client: Get, group: str, kind: str) -> Served | None:
    """Returns where a namespaced kind is served, in the group's preferred version first; None where it is not.

    Raises:
        ClusterError: The API server gave no answer.
    """
    for version in await _versions(client, group):
        base = f"/apis/{version}" if group else f"/api/{version}"
        try:
            found = _lists.decode(await client.get(base, timeout=_BUDGET)).resources
        except errors.NotFound:
            continue
        except msgspec.DecodeError as problem:
            raise errors.Unreachable(f"GET {base} was answered with what is no list: {problem}") from problem
        for resource in found:
            usable = resource.namespaced and {"list", "watch"} <= set(resource.verbs)
            if resource.kind == kind and "/" not in resource.name and usable:
                return Served(resource.name, f"{base}/{resource.name}")
    return None


async def _versions(client: Get, group: str) -> list[str]:
    if not group:
        return ["v1"]
    path = f"/apis/{group}"
    try:
        found = _groups.decode(await client.get(path, timeout=_BUDGET))
    except errors.NotFound:
        return []
    except msgspec.DecodeError as problem:
        raise errors.Unreachable(f"GET {path} was answered with what is no group: {problem}") from problem
    preferred = found.preferred_version.group_version
    return [preferred, *(one.group_version for one in found.versions if one.group_version != preferred)]
