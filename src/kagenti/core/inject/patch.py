"""JSON patch operations built from the received object: never a diff, never a typed round trip (RFC 6902, RFC 6901)."""

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

JSON = Any  # a part of a raw object, or an operation on it

Operation = dict[str, JSON]


@functools.lru_cache(maxsize=4096)
def pointer(*keys: str | int) -> str:
    """Returns the JSON pointer of these keys (RFC 6901 section 3)."""
    return "".join(f"/{str(key).replace('~', '~0').replace('/', '~1')}" for key in keys)


class Patch:
    """Operations on one object in the order of their making; ``root`` is where the pod template stands in it."""

    def __init__(self, root: Sequence[str] = ()) -> None:
        self._root = tuple(root)
        self.operations: list[Operation] = []

    def add(self, value: JSON, *keys: str | int) -> None:
        """Adds a value: a map's key, or a list's index or ``-``."""
        self.operations.append({"op": "add", "path": pointer(*self._root, *keys), "value": value})

    def replace(self, value: JSON, *keys: str | int) -> None:
        """Replaces what stands there."""
        self.operations.append({"op": "replace", "path": pointer(*self._root, *keys), "value": value})

    def remove(self, *keys: str | int) -> None:
        """Removes what stands there."""
        self.operations.append({"op": "remove", "path": pointer(*self._root, *keys)})

    def set_map(self, current: Mapping[str, JSON] | None, wanted: Mapping[str, JSON], *keys: str) -> None:
        """Makes a map hold these entries; others stay. A missing map is added whole."""
        if not wanted:
            return
        if current is None:
            self.add(dict(wanted), *keys)
            return
        for key, value in wanted.items():
            if key not in current:
                self.add(value, *keys, key)
            elif current[key] != value:
                self.replace(value, *keys, key)

    def settle(
        self,
        current: Sequence[Mapping[str, JSON]] | None,
        wanted: Sequence[Mapping[str, JSON]],
        *keys: str | int,
        ours: Collection[str],
        keep_empty: bool,
    ) -> None:
        """Makes a list of named entries hold the wanted ones and no other of ours; everybody else's stay as they are.

        Nothing is written where that is so already. New ones stand behind the list; a missing list is added whole, and
        one that ends up empty goes unless ``keep_empty``.
        """
        if current is None:
            if wanted:
                self.add(list(wanted), *keys)
            return
        names = {entry["name"]: entry for entry in wanted}
        # Where none of ours stands, a list of thousands need not be walked.
        entries = enumerate(current) if ours else ()
        found = [(index, entry["name"]) for index, entry in entries if entry.get("name") in ours]
        standing = [name for _, name in found if name in names]
        if (
            standing != list(names)[: len(standing)]
        ):  # another order, or one twice: written anew, as a first injection would
            others = [entry for entry in current if entry.get("name") not in ours]
            self.replace([*others, *wanted], *keys)
            return
        if not wanted and found and len(found) == len(current) and not keep_empty:
            self.remove(*keys)
            return
        self._mend(current, names, found, *keys)
        for entry in wanted[len(standing) :]:
            self.add(entry, *keys, "-")

    def _mend(
        self,
        current: Sequence[Mapping[str, JSON]],
        names: Mapping[str, Mapping[str, JSON]],
        found: Sequence[tuple[int, JSON]],
        *keys: str | int,
    ) -> None:
        for index, name in found:
            if name in names and current[index] != names[name]:
                self.replace(names[name], *keys, index)
        for index, name in reversed(found):
            if name not in names:
                self.remove(*keys, index)
