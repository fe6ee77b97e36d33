"""The sentence under each field of a model: what CRDs and reference say of it.

Read from the source here, and not by pydantic when a process starts: ``use_attribute_docstrings`` parses every model again at
each import, a tenth of the start of a command that nobody asks for descriptions.
"""

import ast
import inspect
import itertools
import textwrap

from pydantic import BaseModel


def sentences(model: type[BaseModel]) -> dict[str, str]:
    """Returns field name → docstring of every field, those of its bases included; a field without one is left out."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            found.update(_of_class(base))
    return found


def _of_class(model: type[BaseModel]) -> dict[str, str]:
    source = ast.parse(textwrap.dedent(inspect.getsource(model)))
    tree = next(node for node in source.body if isinstance(node, ast.ClassDef))
    return {
        field.target.id: inspect.cleandoc(said.value.value)
        for field, said in itertools.pairwise(tree.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(said, ast.Expr) and isinstance(said.value, ast.Constant) and isinstance(said.value.value, str)
    }
