"""A workload in a document → the subject of a decision, or the fault in it with file, line, field and what to do."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kagenti.cli import manifests
from kagenti.cli.manifests import Document
from kagenti.core import workload
from kagenti.core.admission.shape import fault_of_metadata, fault_of_template
from kagenti.core.workload import Subject
from kagenti.errors import ManifestError

JSON = Any  # a raw manifest, plain

_KEYS: Final = re.compile(r"[^.\[\]]+")


def subjects(document: Document, *, namespace: str) -> list[Subject]:
    """Returns every workload of a document; their paths begin at the document, also inside a List.

    Raises:
        ManifestError: A workload is not what the API server would take, as far as a decision reads it.
    """
    found = (subject_in(document, path, node, namespace=namespace) for path, node in manifests.objects(document))
    return [subject for subject in found if subject is not None]


def subject_in(document: Document, path: Sequence[str], node: JSON, *, namespace: str) -> Subject | None:
    """Returns the object at a path of the document as a subject; None where it has no pods."""
    manifest = manifests.plain(node)
    fault = _fault(manifest)
    if fault:
        field, _, what = fault.partition(": ")
        where = document.at([*path, *_KEYS.findall(field)])
        metadata = manifest.get("metadata")
        name = metadata.get("name", "") if isinstance(metadata, dict) else ""
        raise ManifestError(f"{where}: {manifest['kind']} {name!r} is invalid: {field}: {what}; correct it")
    subject = workload.subject_of(manifest, namespace=namespace)
    if subject is None:
        return None
    return Subject(subject.owner, subject.template, (*path, *subject.path), subject.labels_of_workload)


def _fault(manifest: Mapping[str, JSON]) -> str:
    """Returns what is wrong with a workload, as ``path: sentence``; empty for what is right, and for what has no pods."""
    group = manifest.get("apiVersion")
    if not isinstance(group, str):
        return "apiVersion: it is not a text"
    known = workload.TEMPLATE_PATHS.get((workload.group_of(group), manifest["kind"]))
    path = known if known is not None else workload.template_path(manifest)
    if path is None:
        return ""
    metadata = manifest.get("metadata")
    fault = fault_of_metadata(metadata, "metadata")
    if fault:
        return fault
    if not any((metadata or {}).get(key) for key in ("name", "generateName")):
        return "metadata.name: it is missing"
    template = workload.at(manifest, path)
    if template is None:
        return f"{'.'.join(path)}: it is missing"
    fault = fault_of_template(template, ".".join(path)).removeprefix(".")
    if not fault and not template["spec"].get("containers"):
        return ".".join((*path, "spec", "containers")) + ": it is missing"
    return fault
