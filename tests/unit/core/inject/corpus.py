"""Manifests of other injectors as pods: recorded ones that lie here, and the whole corpora where they lie beside the checkout."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from yaml import YAMLError

from tests.documents import documents

JSON = Any  # a raw manifest

DATA = Path(__file__).resolve().parents[2] / "data" / "recorded"
CORPORA = Path(__file__).resolve().parents[5] / "shared" / "corpora"
_TEMPLATES = {"Pod": (), "CronJob": ("spec", "jobTemplate", "spec", "template")}


@dataclass(frozen=True, eq=False)
class Found:
    """One pod of a file, as its controller would create it; ``fault`` says why a document gives none. Equal to itself only."""

    name: str
    pod: JSON = None
    fault: str = ""


def read(folder: Path) -> list[Found]:
    """Returns every document of every file: Lists are unrolled, a pod without containers gets one."""
    return [found for path in sorted(folder.rglob("*.y*ml")) for found in _file(path)]


def _file(path: Path) -> Iterator[Found]:
    name = f"{path.parent.name}/{path.name}"
    try:
        found = documents(path.read_text())
    except YAMLError:
        yield Found(name, fault="not YAML")
        return
    for number, document in enumerate(item for top in found for item in _items(top)):
        yield _pod(f"{name}#{number}", document)


def _items(document: JSON) -> Iterator[JSON]:
    if isinstance(document, dict) and document.get("kind") == "List":
        yield from document.get("items") or ()
    else:
        yield document


def _pod(name: str, document: JSON) -> Found:
    if not isinstance(document, dict):
        return Found(name, fault="empty")
    template: JSON = document
    for key in _TEMPLATES.get(document.get("kind", ""), ("spec", "template")):
        template = template.get(key) if isinstance(template, dict) else None
    if not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
        return Found(name, fault="no pod template")
    plain = orjson.loads(orjson.dumps(template, default=str))  # the API server sends neither anchors nor dates
    metadata = {
        "name": "x",
        **{key: value for key, value in (plain.get("metadata") or {}).items() if value is not None},
    }
    for key in ("labels", "annotations"):  # files may hold what no API server takes: true instead of "true"
        if key in metadata:
            metadata[key] = {
                name: value if isinstance(value, str) else str(value) for name, value in metadata[key].items()
            }
    spec = {"containers": [], **{key: value for key, value in plain["spec"].items() if value is not None}}
    spec["containers"] = spec["containers"] or [{"name": "app", "image": "example/app:1"}]
    return Found(name, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
