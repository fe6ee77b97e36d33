"""Which API server a kubeconfig leads to, and as whom: files in a list count as kubectl counts them."""

import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from kagenti import errors
from kagenti.kube.connection import connect

JSON = Any  # a kubeconfig, or a part of one


@pytest.fixture(autouse=True)
def nothing_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a pod's environment nor somebody's own kubeconfig."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def config(name: str, **user: str) -> JSON:
    """A kubeconfig with one context of that name, current."""
    return {
        "clusters": [{"name": name, "cluster": {"server": f"http://{name}/"}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def written(path: Path, content: JSON) -> str:
    """Writes a kubeconfig; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(content))
    return str(path)


def test_a_file_that_is_named_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the environment over the home directory."""
    written(tmp_path / "home" / ".kube" / "config", config("home"))
    assert connect().server == "http://home"
    monkeypatch.setenv("KUBECONFIG", written(tmp_path / "env", config("env")))
    assert connect().server == "http://env"
    assert connect(written(tmp_path / "named", config("named"))).server == "http://named"


def test_files_of_a_list_are_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Client-go, "ClientConfigLoadingRules": what is absent is passed over, the first to say something is right."""
    one, two = config("one", token="of-one"), config("two", token="of-two")
    one["current-context"] = ""
    two["users"].append({"name": "one", "user": {"token": "of-two"}})
    two["current-context"] = "one"
    paths = [str(tmp_path / "absent"), written(tmp_path / "1", one), written(tmp_path / "2", two)]
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(paths))
    found = connect()
    assert (found.server, found.token) == ("http://one", "of-one")
    assert connect(os.pathsep.join(paths)) == found


def test_a_file_that_a_kubeconfig_names_stands_beside_it(tmp_path: Path) -> None:
    """Not in the folder that the command is run in."""
    written(tmp_path / "deep" / "token", "the token")
    path = written(tmp_path / "deep" / "config", config("x", tokenFile="token"))
    assert connect(path).token_file == tmp_path / "deep" / "token"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "does not exist; name another"),
        ({"current-context": "x"}, "no usable current context"),
        ({**config("x"), "current-context": "y"}, "no usable current context"),
        (["x"], "is not a kubeconfig"),
    ],
    ids=["no file", "nothing in it", "a context that is not there", "a list"],
)
def test_what_leads_nowhere_is_an_input_error(content: JSON, said: str, tmp_path: Path) -> None:
    """With the file's name."""
    path = str(tmp_path / "config") if content is None else written(tmp_path / "config", content)
    with pytest.raises(errors.UsageError, match=said) as found:
        connect(path)
    assert path in str(found.value)
