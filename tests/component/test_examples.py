"""The examples' programs: the one on the standard library serves."""

import importlib.util
import json
import threading
import urllib.error
import urllib.request
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(path: Path) -> ModuleType:
    """Imports a program under a name of its own; its main part does not run."""
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_card_is_served_at_both_paths() -> None:
    """The program's own handler on a free port: the card under the new and the old name, 404 for all else."""
    card = load(ROOT / "examples" / "agent" / "card.py")
    with ThreadingHTTPServer(("127.0.0.1", 0), card.Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            base = f"http://127.0.0.1:{server.server_address[1]}"
            for path in ("/.well-known/agent-card.json", "/.well-known/agent.json"):
                with urllib.request.urlopen(base + path, timeout=5) as answer:  # noqa: S310  # loopback
                    assert json.load(answer) == card.CARD
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(base + "/secret", timeout=5)  # noqa: S310  # loopback
            with refused.value:
                assert refused.value.code == 404
        finally:
            server.shutdown()
            thread.join()
