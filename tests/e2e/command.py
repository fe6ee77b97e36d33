"""The command ``kagenti`` as a user runs it, in this very process: its imports, half a second, are paid once."""

import gc
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from unittest import mock

from kagenti import cli
from tests.e2e.installed import ROOT


def kagenti(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a command and returns how it ended and what it printed; servers are started as processes instead."""
    out, err = io.StringIO(), io.StringIO()
    with _terminal(words, stdin), redirect_stdout(out), redirect_stderr(err):
        try:
            cli.main()
            code = cli.OK
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


@contextmanager
def _terminal(words: tuple[str, ...], stdin: str) -> Iterator[None]:
    """Words and input as from a shell in the checkout; what the command sets for its process is put back."""
    thresholds = gc.get_threshold()
    with (
        mock.patch.object(sys, "argv", ["kagenti", *words]),
        mock.patch.object(sys, "stdin", io.StringIO(stdin)),
        mock.patch.dict(os.environ),
        chdir(ROOT),
    ):
        try:
            yield
        finally:
            gc.set_threshold(*thresholds)
