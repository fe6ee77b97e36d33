"""The spec of one config object as it grows: only what the API takes gets in, and what contradicts itself comes out again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from kagenti.core.migration import reasons
from kagenti.core.migration.keys import EXCHANGE, Key
from kagenti.core.migration.report import Report, quoted
from kagenti.core.settings.merge import rule_path
from kagenti.core.settings.model import Finding, ResolvedSettings
from kagenti_api.v1alpha1.settings import RuntimeSettings

JSON = Any  # a setting's value

RULES: Final = f"{EXCHANGE}.destinationRules"
_PATIENCE: Final = 256  # contradictions of one object: each takes one value out


@dataclass(slots=True)
class LayerSpec:
    """Values by setting path, where each came from (object, key), and the paths of values that had to be left out."""

    report: Report
    values: dict[str, JSON] = field(default_factory=dict)
    sources: dict[str, tuple[str, str]] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)

    def carry(self, path: str, value: JSON, place: str, name: str, row: Key, *, why: str = "") -> bool:
        """Takes a value under its row's words, or notes why the API would not; returns whether it was taken."""
        fault = fault_of(path, value)
        if fault:
            self.report.impossible(place, name, f"{path} cannot be {quoted(value)}: {fault}")
            self.lost[path] = reasons.NOT_CARRIED
            return False
        self.values[path] = value
        self.sources[path] = (place, name)
        self.report.take(place, name, row, why=why, to=path)
        return True

    def derive(self, path: str, value: JSON, place: str, name: str, why: str) -> None:
        """Takes a value that no key states, and says what it follows from."""
        if fault_of(path, value):
            self.lost[path] = reasons.NOT_CARRIED
            return
        self.values[path] = value
        self.sources[path] = (place, name)
        self.report.take(place, name, Key("derived", path, why))

    def prune(self, resolve: Callable[[Mapping[str, JSON]], ResolvedSettings], place: str) -> bool:
        """Takes out, one by one, the values of this spec that contradict the others, and says so for each.

        Returns whether nothing contradicts any more: a contradiction that is not of this spec's making is a fault of the object.
        """
        for _ in range(_PATIENCE):
            errors = resolve(self.nested()).errors
            if not errors:
                return True
            path, why = next(((found, error.message) for error in errors if (found := self._culprit(error))), ("", ""))
            if not path:
                self.report.fault(reasons.INVALID_RESULT, place, errors[0].message, errors[0].path)
                return False
            self._leave_out(path, why.partition("; mend ")[0])
        return False

    def _culprit(self, error: Finding) -> str:
        """Returns the value of this spec that an error is about: its path, a rule, or the other value that it names."""
        if error.path.startswith(f"{RULES}["):
            wanted = error.path.removesuffix(".target.tokenUrl")
            return wanted if any(rule_path(rule) == wanted for rule in self.values.get(RULES) or ()) else ""
        if error.path in self.values:
            return error.path
        return next((path for path in sorted(self.values, key=len, reverse=True) if path in error.message), "")

    def _leave_out(self, path: str, why: str) -> None:
        place, name = self.sources.get(path, ("", ""))
        if path.startswith(f"{RULES}["):
            self.values[RULES] = [rule for rule in self.values[RULES] if rule_path(rule) != path]
        else:
            del self.values[path]
        self.report.entries = [entry for entry in self.report.entries if (entry.object, entry.key) != (place, name)]
        self.report.impossible(place, name, f"{why}: it was left out")
        self.lost[path] = reasons.NOT_CARRIED

    def nested(self) -> dict[str, JSON]:
        """Returns the spec as the API has it; deterministic."""
        spec: dict[str, JSON] = {}
        for path in sorted(self.values):
            if path == RULES and not self.values[path]:
                continue
            *parents, last = path.split(".")
            node = spec
            for key in parents:
                node = node.setdefault(key, {})
            node[last] = self.values[path]
        return spec


def fault_of(path: str, value: JSON) -> str:
    """Returns why the API would refuse a value, as a clause; empty for one that it takes."""
    nested: JSON = value
    for key in reversed(path.split(".")):
        nested = {key: nested}
    try:
        RuntimeSettings.model_validate(nested)
    except ValidationError as problem:
        return str(problem.errors()[0]["msg"])
    return ""
