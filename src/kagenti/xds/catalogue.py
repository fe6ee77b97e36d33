"""What a snapshot asked of the namespaces that are known, so that a new one concerns only who asked for it."""

from collections.abc import Collection, Iterator

from kagenti.kube import SettledCatalogue as Catalogue

__all__ = ["Asked", "Catalogue"]


class Asked(Collection[str]):
    """Known namespaces that remember what was asked of them, so that a new namespace concerns only who asked for it."""

    def __init__(self, known: Collection[str]) -> None:
        self._known = known
        self._answers: dict[str, bool] = {}
        self._listed: frozenset[str] | None = None

    def __contains__(self, name: object) -> bool:
        answer = name in self._known
        self._answers[str(name)] = answer
        return answer

    def __iter__(self) -> Iterator[str]:
        self._listed = frozenset(self._known)
        return iter(self._listed)

    def __len__(self) -> int:
        self._listed = frozenset(self._known)
        return len(self._listed)

    def holds(self, known: Collection[str]) -> bool:
        """Whether all that was answered would be answered the same of these namespaces."""
        if self._listed is not None and self._listed != frozenset(known):
            return False
        return all((name in known) == answer for name, answer in self._answers.items())
