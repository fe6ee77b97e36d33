"""Other injectors as recorded: what each adds to a pod, given as JSON patch operations, as its own webhook gives them.

``marks`` are the annotations by which it knows its own work, ``first`` says that its init containers go before all
others, ``mounts`` go into every container that it finds, ours included.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.documents import documents

JSON = Any  # a raw pod, or a JSON patch operation

DATA = Path(__file__).resolve().parent / "unit" / "data" / "neighbours"
RECORDED: dict[str, JSON] = {path.stem: documents(path.read_text())[0] for path in sorted(DATA.glob("*.yaml"))}
MESHES = tuple(name for name in RECORDED if "sidecar" in name)
"""Those that redirect the pod's traffic by containers in it."""
COMPANIONS = tuple(name for name in RECORDED if name not in MESHES)
"""Those that a pod of ours may have beside us."""


def additions(name: str, pod: JSON) -> list[JSON]:
    """Returns the operations of one injector on a pod; none where it has been there before."""
    found = RECORDED[name]
    if (pod["metadata"].get("annotations") or {}).items() >= found["marks"].items():
        return []
    return [*_metadata(found, pod), *_mounts(found, pod), *_lists(found, pod)]


def _metadata(found: JSON, pod: JSON) -> Iterator[JSON]:
    for part, values in (("annotations", found["marks"]), ("labels", found.get("labels") or {})):
        present = pod["metadata"].get(part)
        if values:
            yield {"op": "add", "path": f"/metadata/{part}", "value": {**(present or {}), **values}}


def _mounts(found: JSON, pod: JSON) -> Iterator[JSON]:
    for part in ("containers", "initContainers"):
        for index, container in enumerate(pod["spec"].get(part) or ()) if found.get("mounts") else ():
            mounts = [*(container.get("volumeMounts") or ()), *found["mounts"]]
            yield {"op": "add", "path": f"/spec/{part}/{index}/volumeMounts", "value": mounts}


def _lists(found: JSON, pod: JSON) -> Iterator[JSON]:
    for part in ("volumes", "containers", "initContainers"):
        items = found.get(part) or []
        if items and not pod["spec"].get(part):
            yield {"op": "add", "path": f"/spec/{part}", "value": items}
            continue
        front = part == "initContainers" and found.get("first")
        for place, item in enumerate(items):
            yield {"op": "add", "path": f"/spec/{part}/{place if front else '-'}", "value": item}
