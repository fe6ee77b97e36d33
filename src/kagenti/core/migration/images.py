"""Old images: which tags were ever published, and what the processor of each tag read.

Source: reference authbridge-contract sections 0.4 and 1.5. Versions compare as (minor, stage, number) of ``v0.<minor>.0-<stage>.<number>``.
"""

import re
from dataclasses import dataclass
from typing import Final

from kagenti.core.migration import reasons

PREFIXES: Final = ("ghcr.io/kagenti/kagenti-extensions/", "ghcr.io/rossoctl/cortex/")
_TAG: Final = re.compile(r"v0\.(\d{1,3})\.(\d{1,3})(?:-(alpha|beta|rc)\.(\d{1,4}))?")
_STAGES: Final = ("alpha", "beta", "rc", "")
Version = tuple[int, int, int, int]

COMPILED: Final = {
    "envoyProxy": f"{PREFIXES[0]}envoy-with-processor:latest",
    "proxyInit": f"{PREFIXES[0]}proxy-init:latest",
    "spiffeHelper": "ghcr.io/spiffe/spiffe-helper:0.11.0",
    "clientRegistration": f"{PREFIXES[0]}client-registration:latest",
    "authbridge": f"{PREFIXES[0]}authbridge:latest",
}
"""The images that were compiled into the old webhook."""


def version_of(tag: str) -> Version | None:
    """Returns a published version as a comparable tuple; None for a tag that is no version."""
    found = _TAG.fullmatch(tag)
    if found is None:
        return None
    minor, patch, stage, number = found.groups()
    return int(minor), int(patch), _STAGES.index(stage or ""), int(number or 0)


def split(image: str) -> tuple[str, str]:
    """Returns repository and tag of an image reference; a digest counts as no tag, and a port of the registry as none."""
    bare = image.partition("@")[0]
    head, slash, last = bare.rpartition("/")
    name, _, tag = last.partition(":")
    return f"{head}{slash}{name}", tag


def _at(text: str) -> Version:
    found = version_of(text)
    assert found is not None, text  # noqa: S101  # of the constants below
    return found


@dataclass(frozen=True, slots=True)
class Published:
    """The tags under which one image was published, both included; ``last`` empty: it still is."""

    first: str
    last: str = ""


PUBLISHED: Final = {
    "proxy-init": Published("v0.3.1"),
    "client-registration": Published("v0.3.0", "v0.5.0-rc.3"),
    "envoy-with-processor": Published("v0.3.1", "v0.5.0-alpha.3"),
    "spiffe-helper": Published("v0.4.0-alpha.10", "v0.5.0-rc.3"),
    "authbridge": Published("v0.4.0-alpha.10"),
    "authbridge-unified": Published("v0.5.0-alpha.1", "v0.5.0-rc.3"),
    "authbridge-light": Published("v0.5.0-alpha.4", "v0.5.0-rc.3"),
    "authbridge-envoy": Published("v0.5.0-alpha.4"),
    "authbridge-lite": Published("v0.6.0-alpha.1"),
}
"""Image → range of tags of the release workflow (section 0.4)."""


_GAPS: Final = (("v0.4.0-alpha.13", "v0.5.0-alpha.1"), ("v0.5.0-rc.3", "v0.6.0-alpha.1"))
"""Between these releases there was none (section 0.4)."""
_MAIN: Final = re.compile(r"main-[0-9a-f]{7}")
_MOVING: Final = ("", "latest", "nightly")


def _released(version: Version, known: Published) -> bool:
    if version < _at(known.first) or (known.last and version > _at(known.last)):
        return False
    return not any(_at(before) < version < _at(after) for before, after in _GAPS)


def fault_of(image: str) -> tuple[str, str] | None:
    """Returns a reason code and a clause for an image that should not be trusted as it stands; None for a good one."""
    repository, tag = split(image)
    name = repository.rpartition("/")[2]
    if "@" in image:
        return None
    known = PUBLISHED.get(name) if repository.startswith(PREFIXES) else None
    if tag in _MOVING:
        if known is not None and known.last:
            return (
                reasons.FROZEN_TAG,
                f"{name}:{tag or 'latest'} is frozen at its last build, {known.last}: pin that tag, or a later default",
            )
        meant = "; authbridge:latest changed its meaning in May 2026" if name == "authbridge" else ""
        return reasons.LATEST_TAG, f"{image!r} can change under running agents{meant}: pin a tag or a digest"
    if known is None or _MAIN.fullmatch(tag):
        return None
    version = version_of(tag)
    if version is None or not _released(version, known):
        until = f" to {known.last}" if known.last else " on"
        return (
            reasons.UNPUBLISHED_TAG,
            f"{name}:{tag} was never published ({known.first}{until}): choose a released tag of that range",
        )
    return None


@dataclass(frozen=True, slots=True)
class Processor:
    """What the processor of an image tag did with its environment (section 1.5)."""

    inbound: bool = True  # validates at all
    routes: bool = True
    default_policy: bool = True  # else every host without a route is exchanged for
    targets: bool = True
    derives: bool = True  # TOKEN_URL and ISSUER from KEYCLOAK_URL and KEYCLOAK_REALM
    expected_audience: bool = False  # else the content of the client-id file


_ROWS: Final = (
    ("v0.4.0-alpha.12", Processor()),
    ("v0.4.0-alpha.10", Processor(derives=False, expected_audience=True)),
    ("v0.4.0-alpha.9", Processor(targets=False, expected_audience=True)),
    ("v0.4.0-alpha.7", Processor(derives=False, expected_audience=True)),
    ("v0.4.0-alpha.5", Processor(default_policy=False, derives=False, expected_audience=True)),
    ("v0.4.0-alpha.3", Processor(routes=False, default_policy=False, derives=False, expected_audience=True)),
    ("v0.0.0", Processor(inbound=False, routes=False, default_policy=False, derives=False, expected_audience=True)),
)
_OWN_BOOTSTRAP: Final = _at("v0.4.0-alpha.8")


def processor_of(image: str) -> Processor:
    """Returns the row of an image's tag; a tag that is no version counts as the newest, which ``latest`` is frozen at."""
    version = version_of(split(image)[1])
    if version is None:
        return _ROWS[0][1]
    return next(row for first, row in _ROWS if version >= _at(first))


def runs_our_bootstrap(image: str) -> bool:
    """Whether the Envoy in an envoy-with-processor image can read our bootstrap: 1.37 from alpha.8 on, 1.28 before (1.4)."""
    version = version_of(split(image)[1])
    return version is None or version >= _OWN_BOOTSTRAP
