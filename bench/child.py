"""A process of the bench that is told what to do, a line of JSON at a time, and answers each with one."""

import subprocess
import sys
from typing import Any, Self

import orjson

from bench.figures import ROOT

JSON = Any  # commands and answers


class Child:
    """One module of the bench as a process; a context manager that ends it."""

    def __init__(self, module: str) -> None:
        self._module = module
        command = [sys.executable, "-m", module]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def pid(self) -> int:
        """Its pid."""
        return self._process.pid

    def tell(self, command: JSON) -> None:
        """Sends a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(orjson.dumps(command) + b"\n")
        self._process.stdin.flush()

    def hear(self) -> JSON:
        """Returns the next answer; raises RuntimeError where the process has ended instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._module} ended with {self._process.wait()}; what it said is above")
        return orjson.loads(line)

    def ask(self, command: JSON) -> JSON:
        """Sends a command and returns its answer."""
        self.tell(command)
        return self.hear()


def answer(content: JSON) -> None:
    """Says something to whoever started this process."""
    sys.stdout.buffer.write(orjson.dumps(content) + b"\n")
    sys.stdout.buffer.flush()
