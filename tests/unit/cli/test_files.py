"""Several files in, one stream out: it stays YAML, and what nobody changes stays as it was."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.documents import documents
from tests.unit.cli.conftest import Done

JSON = Any  # a manifest
Run = Callable[..., Done]
Write = Callable[..., str]

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a, image: b}]}\n"
MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\n"


def kinds(text: str) -> list[str]:
    """Returns the kinds of the documents of a stream."""
    return [found["kind"] for found in documents(text) if found]


@pytest.mark.parametrize("command", ["inject", "uninject"])
@pytest.mark.parametrize(
    ("first", "second", "out"),
    [
        (POD, MAP, POD + "---\n" + MAP),
        (POD.rstrip(), MAP, POD + "---\n" + MAP),
        (POD, "---\n" + MAP, POD + "---\n" + MAP),
        (POD.rstrip(), "---\n" + MAP, POD + "---\n" + MAP),
        (POD, "# of the app\n" + MAP, POD + "---\n# of the app\n" + MAP),
        (POD, "# of the app\n---\n" + MAP, POD + "# of the app\n---\n" + MAP),
        ("", MAP, MAP),
        (POD, "", POD),
        (POD, MAP.rstrip(), POD + "---\n" + MAP.rstrip()),
    ],
)
def test_files_are_kept_apart(command: str, first: str, second: str, out: str, kagenti: Run, written: Write) -> None:
    """A separator only where the second file brings none; the bytes of both files stay."""
    done = kagenti(command, "-f", written(first, "1.yaml"), "-f", written(second, "2.yaml"))
    assert (done.code, done.out) == (0, out)


def test_injected_files_are_kept_apart(kagenti: Run, written: Write) -> None:
    """Also where a document of the first file is written anew."""
    labelled = POD.replace("{name: x}", "{name: x, labels: {kagenti.io/inject: enabled}}").rstrip()
    done = kagenti("inject", "-f", written(labelled, "1.yaml"), "-f", written(MAP, "2.yaml"))
    assert (done.code, kinds(done.out)) == (0, ["Pod", "ConfigMap"])
    assert done.out.endswith("\n---\n" + MAP)
