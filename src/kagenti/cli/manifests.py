"""Files in, documents out and back: multi-document YAML whose untouched documents keep every byte."""

import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedBase
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.scalarstring import LiteralScalarString

from kagenti.cli.emitter import Emitter
from kagenti.cli.scalars import quoted
from kagenti.errors import ManifestError

JSON = Any  # a raw manifest; ruamel's maps keep comments
Result = TypeVar("Result")

_UNFOLDED: Final = 1 << 24  # longer than any line: text that nobody changed is not folded anew
# A list whose dashes stand further right than its key: the style that the document's author chose.
_INDENTED_LIST: Final = re.compile(r"^( *)[^\s#-][^\n]*:[ ]*\n\1 +- ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file: its text as it stands, the line it begins on, and its content (None where empty)."""

    file: str
    line: int
    text: str
    content: JSON

    def at(self, path: Sequence[str | int]) -> str:
        """Returns ``file:line`` of a field, or of the closest field above it."""
        node: JSON = self.content
        line = getattr(getattr(node, "lc", None), "line", 0)  # the first line of what ruamel read, after the separator
        for part in path:
            try:
                marks: JSON = node.lc  # of ruamel's own map and list
                key = int(part) if isinstance(node, list) else part
                line = marks.item(key)[0] if isinstance(node, list) else marks.key(key)[0]
                node = node[key]
            except (KeyError, IndexError, AttributeError, TypeError, ValueError):
                break
        return f"{self.file}:{self.line + line}"


def read(files: Sequence[str]) -> list[Document]:
    """Returns the documents of these files; ``-`` is standard input. Raises ManifestError with file, line and what to do."""
    return [document for file in files for document in _documents(file, _text(file), _load)]


def of_dump(files: Sequence[str], use: Callable[[list[Document]], Result]) -> Result:
    """Returns what a function makes of the documents of these files, which nobody writes back: read many times faster than ``read``.

    Where it raises ManifestError the files are read again, with the lines that the message then names.
    """
    texts = [(file, _text(file)) for file in files]
    try:
        return use([document for file, text in texts for document in _documents(file, text, _load_plain)])
    except ManifestError:
        return use([document for file, text in texts for document in _documents(file, text, _load)])


def objects(document: Document) -> Iterator[tuple[tuple[str, ...], JSON]]:
    """Yields (path, object) for every object of a document: itself, or the items of a List, however deep."""
    if document.content is not None:
        yield from _objects(document, (), document.content)


def _objects(document: Document, path: tuple[str, ...], node: JSON) -> Iterator[tuple[tuple[str, ...], JSON]]:
    if not isinstance(node, dict):
        raise ManifestError(f"{document.at(path)}: an item of a List is {type(node).__name__}, want an object; mend it")
    kind = node.get("kind")
    if not isinstance(kind, str):
        raise ManifestError(f"{document.at(path)}: an object has no kind; add apiVersion and kind")
    items = node.get("items")
    if not kind.endswith("List") or not isinstance(items, list):
        yield path, node
        return
    for number, item in enumerate(items):
        yield from _objects(document, (*path, "items", str(number)), item)


def unrolled(documents: Sequence[Document]) -> list[Document]:
    """Returns one document for each object: an item of a List stands for itself, with its own lines."""
    return [
        Document(document.file, document.line, document.text, node)
        for document in documents
        for _, node in objects(document)
    ]


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
        raise ManifestError(f"{file}: cannot be read: {reason}; name another file") from problem


def _documents(file: str, text: str, load: Callable[[str, int, str], JSON]) -> Iterator[Document]:
    name = "stdin" if file == "-" else file
    for line, part in _split(text):
        content = load(name, line, part)
        found = Document(name, line, part, content)
        if content is not None and not isinstance(content, dict):
            kind = type(content).__name__
            raise ManifestError(
                f"{found.at(())}: a document is {kind}, want an object with apiVersion and kind; mend it"
            )
        _ = [*objects(found)]  # raises where an object, also one in a List, has no kind
        yield found


def _split(text: str) -> Iterator[tuple[int, str]]:
    """Yields (first line, text) of each document; separators stay with the text before them."""
    start = 1
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        if line.startswith("---") and (len(line.rstrip()) == len("---") or line[3] in " \t#"):
            yield start, "".join(lines)
            start, lines = number, [line]
        else:
            lines.append(line)
    yield start, "".join(lines)


def _load_plain(name: str, line: int, part: str) -> JSON:
    if part.startswith("{"):
        try:
            return orjson.loads(part)
        except orjson.JSONDecodeError:
            pass  # YAML in flow style
    import yaml  # PyYAML: libyaml where it is there, and YAML 1.1 as kubectl reads it

    try:
        return yaml.load(part, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  # a safe loader in either case
    except Exception as problem:
        raise ManifestError(f"{name}:{line}: not YAML; mend the file") from problem


def _load(name: str, line: int, part: str) -> JSON:
    yaml = YAML()  # the round-trip loader: comments, order and quotes survive
    yaml.preserve_quotes = True
    try:
        return yaml.load(part)
    except MarkedYAMLError as problem:
        at = line + (problem.problem_mark.line if problem.problem_mark else 0)
        raise ManifestError(f"{name}:{at}: not YAML: {problem.problem or problem.context}; mend the file") from problem
    except Exception as problem:
        at = line + part.count("\n", 0, getattr(problem, "position", 0))  # of a character that YAML does not allow
        raise ManifestError(f"{name}:{at}: not YAML: {str(problem).splitlines()[0]}; mend the file") from problem


def write(content: JSON, original: Document) -> str:
    """Returns a changed document as text, with the comments that it had."""
    yaml = YAML()
    yaml.Emitter = Emitter
    yaml.width = _UNFOLDED
    yaml.preserve_quotes = True
    yaml.brace_single_entry_mapping_in_flow_sequence = True  # [{a: 1}] stays as it was, and does not become [a: 1]
    if _INDENTED_LIST.search(original.text):
        yaml.indent(mapping=2, sequence=4, offset=2)
    text = io.StringIO()
    yaml.dump(content, text)
    head = "---\n" if original.text.startswith("---") else ""
    return head + text.getvalue()


def joined(parts: Sequence[tuple[Document, str]]) -> str:
    """Returns the documents of several files, each with its text, as one stream: a file that opens no document gets a separator."""
    whole, filled, apart = "", False, False
    for document, text in parts:
        if document.line == 1 and whole:  # the first document of the next file
            whole, apart = whole.removesuffix("\n") + "\n", filled
        if document.content is not None:
            whole += "---\n" if apart and not text.startswith("---") else ""
            filled, apart = True, False
        whole += text
    return whole


def plain(node: JSON) -> JSON:
    """Returns a document as plain dict, list and scalars."""
    if isinstance(node, dict):
        return {str(key): plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(item) for item in node]
    if isinstance(node, bool) or node is None:
        return node
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return str(node)


def apply(content: JSON, operations: Sequence[JSON]) -> None:
    """Applies our own JSON patch operations (add, replace, remove) to a document in place, keeping its comments."""
    for operation in operations:
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        node = content
        _to_block(node)
        for key in parents:
            node = node[int(key)] if isinstance(node, list) else node[key]
            _to_block(node)
        _apply_one(node, last, {**operation, "value": _readable(operation.get("value"))})


def _to_block(node: JSON) -> None:
    """Writes a map or list that we change, and so all above it, one entry a line: ours would be unreadable in braces."""
    if isinstance(node, CommentedBase):
        node.fa.set_block_style()


def _readable(value: JSON) -> JSON:
    """Returns a value whose texts of several lines are written as blocks, and all others so that kubectl reads texts."""
    if isinstance(value, dict):
        return {quoted(key): _readable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_readable(item) for item in value]
    if not isinstance(value, str):
        return value
    return LiteralScalarString(value) if "\n" in value else quoted(value)


def _apply_one(node: JSON, last: str, operation: JSON) -> None:
    if operation["op"] == "remove":
        del node[int(last) if isinstance(node, list) else last]
    elif not isinstance(node, list):
        node[last] = operation["value"]
    elif last == "-":
        node.append(operation["value"])
    elif operation["op"] == "add":
        node.insert(int(last), operation["value"])
    else:
        node[int(last)] = operation["value"]
