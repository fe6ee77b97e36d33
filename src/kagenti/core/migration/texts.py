"""The texts inside old ConfigMaps: YAML as Go read it, and the part of HCL that helper.conf is written in."""

import functools
import re
import warnings
from collections import deque
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

JSON = Any  # whatever a text holds

_REMEMBERED: Final = 256
_LONGEST: Final = 1 << 20  # bytes of a ConfigMap (Kubernetes reference)


class Unreadable(ValueError):
    """A text that cannot be read; the message says where and why."""


@functools.lru_cache(maxsize=_REMEMBERED)
def read_yaml(text: str) -> JSON:
    """Returns the one document of a text, read as YAML 1.1, as the old webhook's library did (``off`` is false).

    Namespaces of one chart have equal files, and reading one takes milliseconds: what is returned is remembered, and must not
    be changed.
    """
    if len(text) > _LONGEST:
        raise Unreadable(f"it has {len(text)} characters, more than a ConfigMap can hold")
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about numbers that YAML 1.2 reads otherwise: Go did not warn either
            found = yaml.load(text)
            if _unfolded(found, {}) > max(len(text), _ALIASED):
                raise Unreadable("its aliases unfold to more than the text could hold, which no old program read")
            return found
    except MarkedYAMLError as problem:
        line = problem.problem_mark.line + 1 if problem.problem_mark else 1
        raise Unreadable(f"line {line}: not YAML: {problem.problem or problem.context}") from problem
    except Unreadable:
        raise
    except (YAMLError, ValueError, TypeError, RecursionError) as problem:
        raise Unreadable(f"not YAML: {str(problem).splitlines()[0][:200] or type(problem).__name__}") from problem


def _unfolded(node: JSON, known: dict[int, int]) -> int:
    """Returns how many values a document has with its aliases written out; raises Unreadable for one that contains itself."""
    inner = [*node, *node.values()] if isinstance(node, dict) else node if isinstance(node, list) else None
    if inner is None:
        return 1
    if known.setdefault(id(node), 0) == 0:
        known[id(node)] = _OPEN
        known[id(node)] = 1 + sum(_unfolded(item, known) for item in inner)
    elif known[id(node)] == _OPEN:
        raise Unreadable("an alias stands for something that contains it, which no old program read")
    return known[id(node)]


_OPEN: Final = -1
_ALIASED: Final = 10_000  # values: what a small file may have by its aliases


_TOKEN: Final = re.compile(
    r'\s*(?:(?P<comment>(?:#|//)[^\n]*|/\*.*?\*/)|"(?P<text>(?:[^"\\\n]|\\.)*)"|(?P<word>[A-Za-z_][\w.-]*)|(?P<number>-?\d+)|(?P<mark>[=\[\]{},]))',
    re.DOTALL,
)
Tokens = deque[tuple[str, str]]
"""What of a text is still to be read: kind and text of each token."""
_WORDS: Final = {"true": True, "false": False}


def read_hcl(text: str) -> dict[str, JSON]:
    """Returns the attributes of helper.conf: strings, numbers, booleans, lists and objects (HCL 1, without blocks)."""
    tokens = _tokens(text)
    found: dict[str, JSON] = {}
    try:
        while tokens:
            kind, name = tokens.popleft()
            if kind not in ("word", "text") or tokens.popleft() != ("mark", "="):
                raise Unreadable(f"not HCL: want key = value at {name!r}")
            found[name] = _value(tokens)
    except IndexError as problem:
        raise Unreadable("not HCL: it ends in the middle of a value") from problem
    except RecursionError as problem:
        raise Unreadable("not HCL: its lists and objects stand too deep in one another") from problem
    return found


def _tokens(text: str) -> Tokens:
    tokens: Tokens = deque()
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            line = text.count("\n", 0, at) + 1
            raise Unreadable(f"line {line}: not HCL: {text[at : at + 20].strip()!r}")
        at = found.end()
        if found.lastgroup != "comment":
            tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
    return tokens


def _value(tokens: Tokens) -> JSON:
    kind, written = tokens.popleft()
    if kind == "mark" and written == "[":
        return _items(tokens, "]", lambda: _value(tokens))
    if kind == "mark" and written == "{":
        return dict(_items(tokens, "}", functools.partial(_member, tokens)))
    if kind == "mark":
        raise Unreadable(f"not HCL: {written!r} where a value should be")
    if kind == "number":
        return int(written[:18])
    return _WORDS.get(written, written) if kind == "word" else written


def _member(tokens: Tokens) -> tuple[str, JSON]:
    name = tokens.popleft()[1]
    if tokens.popleft() != ("mark", "="):
        raise Unreadable(f"not HCL: want key = value at {name!r}")
    return name, _value(tokens)


def _items(tokens: Tokens, close: str, read: Any) -> list[JSON]:  # Any: a function of no arguments
    items = []
    while tokens[0] != ("mark", close):
        items.append(read())
        if tokens[0] == ("mark", ","):
            tokens.popleft()
    tokens.popleft()
    return items
