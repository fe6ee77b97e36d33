"""JSON patch operations built from the received object: never a diff, never a typed round trip (RFC 6902, RFC 6901)."""

import functools
from collections.abc import Mapping, Sequence
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

    def append_all(self, current: Sequence[JSON] | None, items: Sequence[JSON], *keys: str | int) -> None:
        """Appends items to a list; a missing list is added whole."""
        if not items:
            return
        if current is None:
            self.add(list(items), *keys)
            return
        for item in items:
            self.add(item, *keys, "-")
