"""What a migration tells: one entry for every old key, and findings with a code; plain values, printed by the shell."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kagenti.core.migration.keys import Key, Verdict
from kagenti.core.settings.model import Finding

JSON = Any  # a value as it stood in an old file

_USER: Final = re.compile(r"//[^/@\s]+@")
_SHOWN: Final = 60  # characters of a value that a sentence quotes


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one key: ``object`` is the ConfigMap, ``to`` the setting, ``why`` one clause. No values: some are secrets."""

    object: str
    key: str
    verdict: Verdict
    to: str = ""
    why: str = ""


@dataclass(slots=True)
class Report:
    """Entries and findings as they are gathered. ``faults`` are objects that could not be read: they are not migrated.

    ``findings`` are warnings: what was migrated with a remark, and what people have to do.
    """

    entries: list[Entry] = field(default_factory=list)
    faults: list[Finding] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def take(
        self, place: str, name: str, row: Key, *, why: str = "", verdict: Verdict | None = None, to: str = ""
    ) -> None:
        """Notes what became of a key, in the words of its row unless others are given."""
        said = verdict or row.verdict
        goes = "" if said in ("ignored", "impossible") else (to or row.to)
        self.entries.append(Entry(place, name, said, goes, why or row.why))

    def impossible(self, place: str, name: str, why: str) -> None:
        """Notes a key whose value cannot be carried, and what to do."""
        self.entries.append(Entry(place, name, "impossible", "", why))

    def fault(self, reason: str, place: str, message: str, path: str = "") -> None:
        """Notes an object that cannot be migrated."""
        self.faults.append(Finding(reason, f"{place}: {message}", path, (place,)))

    def warn(self, reason: str, place: str, message: str, path: str = "") -> None:
        """Notes what people should know of an object."""
        self.findings.append(Finding(reason, f"{place}: {message}", path, (place,)))


def quoted(value: JSON) -> str:
    """Returns a value for a sentence: shortened, and without the user information of a URL, which may be a password."""
    text = _USER.sub("//…@", repr(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def is_credential(name: str) -> bool:
    """Whether a key's name says that its value is a secret."""
    upper = name.upper()
    return (
        any(word in upper for word in ("PASSWORD", "SECRET", "_KEY", "CREDENTIALS", "BEARER"))
        and upper not in _HARMLESS
    )


def credentials(node: JSON, above: str = "") -> Iterator[str]:
    """Yields the dotted names of texts, however deep, whose names say that they are secrets; names of files are none."""
    pairs = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        path = f"{above}.{key}" if above else str(key)
        if isinstance(value, str) and value and is_credential(str(key)) and not str(key).upper().endswith("_FILE"):
            yield path
        yield from credentials(value, path)


_HARMLESS: Final = {"SECRET_FILE_PATH", "CLIENT_SECRET_FILE", "KEYCLOAK_ADMIN_SECRET_NAME"}


def counted(entries: list[Entry]) -> Mapping[str, int]:
    """Returns how many keys there are of each verdict."""
    found = dict.fromkeys(("carried", "derived", "ignored", "impossible"), 0)
    for entry in entries:
        found[entry.verdict] += 1
    return found
