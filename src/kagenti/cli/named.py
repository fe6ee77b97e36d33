"""KIND/NAME as a person writes it → group, kind and name: full names, plurals, kubectl's short names, KIND.GROUP."""

import re
from dataclasses import dataclass
from typing import Final

from kagenti.core.workload import TEMPLATE_PATHS
from kagenti.errors import UsageError

_SHORT: Final = {
    "deploy": "Deployment",
    "sts": "StatefulSet",
    "ds": "DaemonSet",
    "rs": "ReplicaSet",
    "cj": "CronJob",
    "po": "Pod",
}
# deployment, deployments, deploy → (apps, Deployment)
_KNOWN: Final = {
    **{word: (group, kind) for group, kind in TEMPLATE_PATHS for word in (kind.lower(), f"{kind.lower()}s")},
    **{short: key for short, kind in _SHORT.items() for key in TEMPLATE_PATHS if key[1] == kind},
}
_VERSION: Final = re.compile(r"v\d+(?:(?:alpha|beta)\d+)?\.")  # kubectl also takes deployment.v1.apps


@dataclass(frozen=True, slots=True)
class Named:
    """A workload as asked for: ``kind`` of a kind that is not built in is the user's word in lower case."""

    kind: str
    group: str
    name: str
    built_in: bool = True
    version: str = "v1"

    @property
    def plural(self) -> str:
        """Plural of a built-in kind, as it stands in paths."""
        return f"{self.kind.lower()}s"

    @property
    def api_version(self) -> str:
        """Group and version as a manifest states them."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def means(self, kind: str, group: str) -> bool:
        """Whether an object of that kind and group may be the one that was asked for."""
        if self.built_in:
            return (kind, group) == (self.kind, self.group)
        return group == self.group and self.kind in (kind.lower(), f"{kind.lower()}s")


def named(text: str) -> Named:
    """Returns what KIND/NAME names; a bare NAME is a Deployment.

    Raises:
        UsageError: There is no name, or a kind that is not built in comes without its group.
    """
    word, _, name = text.rpartition("/")
    kind, _, group = (word or "deployment").lower().partition(".")
    group = _VERSION.sub("", group + ".").rstrip(".")
    known = _KNOWN.get(kind)
    if name and known is not None and group in ("", known[0]):
        return Named(known[1], known[0], name)
    if name and kind and group:
        return Named(kind, group, name, built_in=False)
    kinds = ", ".join(kind.lower() for _, kind in TEMPLATE_PATHS)
    raise UsageError(
        f"workload is {text!r}, want KIND/NAME with a kind of {kinds}, or KIND.GROUP/NAME for a kind of another API "
        "group; for example deployment/weather-agent or rollout.argoproj.io/weather-agent"
    )
