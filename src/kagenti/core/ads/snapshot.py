"""Snapshot: all resources of one workload's Envoys at one moment, complete, with content-hash versions.

Nothing here counts: equal content gives equal versions on every replica, so that a reconnect resends nothing,
whichever replica it lands on (facts §1). A snapshot never changes; another one takes its place.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from kagenti import errors

CLUSTER: Final = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
EXTENSION: Final = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
ROUTE: Final = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
TYPES: Final = (CLUSTER, EXTENSION, ROUTE)
"""The types served, in the order in which a change is sent: what is named before what names it (facts §9)."""

Reference = tuple[str, str]
"""Type URL and name of a resource."""

# 128 bits: nobody finds two contents of one version, and the text that each reconnecting Envoy repeats stays short.
_DIGITS: Final = 32


class DanglingReference(errors.Defect):
    """A resource names another that neither the snapshot nor the bootstrap has: Envoy would ACK it and answer 503."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One resource ready for the wire.

    ``payload`` is the serialized message, ``version`` its content hash, ``references`` what it needs to exist.
    """

    type_url: str
    name: str
    version: str
    payload: bytes
    references: frozenset[Reference] = frozenset()

    @classmethod
    def of(cls, type_url: str, name: str, payload: bytes, references: frozenset[Reference] = frozenset()) -> "Encoded":
        """Returns the resource with its content hash as version."""
        return cls(type_url, name, fingerprint((payload,)), payload, references)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one Envoy should have: by type URL the resources by name, in order, and one version of them all.

    ``withheld`` names resources that exist but cannot be given now (no keys yet): they are neither sent nor removed.
    ``revision`` is the content hash of everything here.
    """

    resources: Mapping[str, Mapping[str, Encoded]]
    versions: Mapping[str, str]
    withheld: frozenset[Reference]
    revision: str

    @classmethod
    def of(
        cls,
        resources: Iterable[Encoded],
        *,
        withheld: Iterable[Reference] = (),
        static: Iterable[Reference] = (),
    ) -> "Snapshot":
        """Returns the snapshot of these resources; ``static`` are those of the bootstrap, which may be named too.

        Raises:
            DanglingReference: A resource names one that is not here, not withheld and not static.
            errors.Defect: A type that is not served, or two resources of one type and name.
        """
        by_type: dict[str, dict[str, Encoded]] = {type_url: {} for type_url in TYPES}
        for resource in resources:
            _add(by_type, resource)
        kept_back = frozenset(withheld)
        _check(by_type, kept_back | frozenset(static))
        by_type = {type_url: dict(sorted(found.items())) for type_url, found in by_type.items()}
        versions = {type_url: _version(found.values()) for type_url, found in by_type.items()}
        names = [part for reference in sorted(kept_back) for part in reference]
        revision = fingerprint([*versions.values(), *names])
        frozen = {type_url: MappingProxyType(found) for type_url, found in by_type.items()}
        return cls(MappingProxyType(frozen), MappingProxyType(versions), kept_back, revision)

    def get(self, type_url: str, name: str) -> Encoded | None:
        """Returns a resource, or None."""
        return self.resources.get(type_url, {}).get(name)


def fingerprint(parts: Iterable[str | bytes]) -> str:
    """Returns the content hash of parts, in their order: SHA-256 in hex, cut to 128 bits."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part if isinstance(part, bytes) else part.encode()
        digest.update(len(raw).to_bytes(8, "big") + raw)  # lengths keep ("ab", "c") and ("a", "bc") apart
    return digest.hexdigest()[:_DIGITS]


def _add(by_type: dict[str, dict[str, Encoded]], resource: Encoded) -> None:
    found = by_type.get(resource.type_url)
    if found is None:
        raise errors.Defect(f'cannot serve resource "{resource.name}" of type "{resource.type_url}": not one of TYPES')
    if resource.name in found:
        raise errors.Defect(f'two resources of type "{resource.type_url}" are named "{resource.name}"; name one anew')
    found[resource.name] = resource


def _check(by_type: Mapping[str, Mapping[str, Encoded]], elsewhere: frozenset[Reference]) -> None:
    for type_url, found in by_type.items():
        if clash := sorted(name for name in found if (type_url, name) in elsewhere):
            raise errors.Defect(f'resources of type "{type_url}" are given although withheld or static: {clash}')
        for resource in found.values():
            _check_references(resource, by_type, elsewhere)


def _check_references(
    resource: Encoded, by_type: Mapping[str, Mapping[str, Encoded]], elsewhere: frozenset[Reference]
) -> None:
    for type_url, name in sorted(resource.references):
        if name not in by_type.get(type_url, {}) and (type_url, name) not in elsewhere:
            raise DanglingReference(
                f'"{resource.name}" ({_kind(resource.type_url)}) names {_kind(type_url)} "{name}", which nobody gives; '
                "build that resource too or name another"
            )


def _kind(type_url: str) -> str:
    return type_url.rpartition(".")[2]


def _version(resources: Iterable[Encoded]) -> str:
    return fingerprint(part for resource in resources for part in (resource.name, resource.version))
