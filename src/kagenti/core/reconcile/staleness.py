"""By what an injected pod is behind: its recorded restart settings, or the xDS server's CA in its bootstrap."""

import functools
import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from kagenti.core.settings.model import ResolvedSettings
from kagenti_api.v1alpha1.fields import LAYERED_FIELDS

JSON = Any  # a setting's value

# A certificate in PEM, as JSON or YAML write its line ends.
_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----(?:\\n|\s)*", re.DOTALL)


def differing(resolved: ResolvedSettings, recorded: Mapping[str, JSON], *, same_version: bool) -> tuple[str, ...]:
    """Returns the restart settings that the next pod would have otherwise, by path.

    Args:
        resolved: The settings in force.
        recorded: The restart settings that the pod's receipt records.
        same_version: Whether this version built the pod; another one may know other settings.
    """
    desired = _restart(resolved.restart_json)
    paths = sorted(path for path in desired.keys() | recorded.keys() if desired.get(path) != recorded.get(path))
    return tuple(path for path in paths if same_version or _known_to_both(path, recorded, resolved))


def _known_to_both(path: str, recorded: Mapping[str, JSON], resolved: ResolvedSettings) -> bool:
    """Whether a setting can tell a pod of another version from the next one.

    One that only the newer version has is at its default in the older one's pods; unless a layer sets it, an upgrade of
    ours would call the whole fleet stale, and a rollout would replace the same pods for ever.
    """
    if path not in LAYERED_FIELDS:
        return False
    origin = resolved.origins.get(path)
    return path in recorded or (origin is not None and origin.source.layer != "built-in")


def certificates(text: str) -> list[str]:
    """Returns the certificates of a text, whatever its line ends."""
    return [re.sub(r"\\n|\s", "", found) for found in _CERTIFICATE.findall(text)]


def same_but_certificates(one: str, other: str) -> bool:
    """Whether two files are the same apart from the certificates in them."""
    return _CERTIFICATE.sub("", one) == _CERTIFICATE.sub("", other)


@functools.lru_cache(maxsize=1024)
def _restart(text: bytes) -> Mapping[str, JSON]:
    found: Mapping[str, JSON] = orjson.loads(text)
    return found
