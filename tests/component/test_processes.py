"""The processes as programs of their own, from start to SIGTERM, without a cluster."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from tests.unit.webhook.conftest import make_authority

JSON = Any  # arguments of a process

_WEBHOOK: Final = """
import sys, json
from pathlib import Path
from kagenti import webhook
given = json.loads(sys.argv[1])
paths = {key: Path(given.pop(key)) for key in ("certificate", "key")}
sys.exit(webhook.main(webhook.WebhookConfig(**paths, **given)))
"""
_XDS: Final = """
import sys, json
from pathlib import Path
from kagenti.xds import config, start
given = json.loads(sys.argv[1])
paths = {key: Path(given.pop(key)) for key in ("certificate", "key")}
sys.exit(start.main(config.XdsConfig(**paths, **given)))
"""
_KUBECONFIG: Final = {
    "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    "current-context": "x",
    "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:9"}}],  # the discard port: nobody listens
    "users": [{"name": "x", "user": {}}],
}


def launch(folder: Path, program: str, **more: JSON) -> subprocess.Popen[str]:
    """Starts a process with its log piped."""
    certificate, key = make_authority().issue().write(folder / "tls")
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_bytes(orjson.dumps(_KUBECONFIG))
    given = {"certificate": str(certificate), "key": str(key), "kubeconfig": str(kubeconfig)}
    arguments = given | {"host": "127.0.0.1", "port": 0, "shutdown_grace": 0.1} | more
    command = [sys.executable, "-c", program, orjson.dumps(arguments).decode()]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONWARNINGS": "error"})


@pytest.mark.parametrize(
    ("program", "more", "said"),
    [
        pytest.param(_WEBHOOK, {}, "draining", id="webhook"),
        pytest.param(_XDS, {"replica": "xds-1", "status_port": 0, "debug_port": 0}, "handing streams over", id="xds"),
    ],
)
def test_sigterm_ends_a_real_process_with_0(program: str, more: JSON, said: str, tmp_path: Path) -> None:
    """It serves although no API server is there, says what it does on SIGTERM, and every line of its log is JSON."""
    with launch(tmp_path, program, **more) as process:
        assert process.stderr is not None
        lines = [orjson.loads(process.stderr.readline())]
        assert lines[0]["message"] == "serving"
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=20)[1]
        lines += [orjson.loads(line) for line in rest.splitlines()]
        assert process.returncode == 0, rest
        assert said in [line["message"] for line in lines]
