"""The processes of the plane: started with a log file each, ended by pid, never outliving whoever started them."""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

# Nothing may survive a killed run: the kernel kills a child whose parent dies (prctl(2), PR_SET_PDEATHSIG). By a program
# and not by preexec_fn, which makes Python fork: gRPC's fork handlers, in a process that has used it, abort the child.
_DYING_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
_TAIL = 3000  # characters of a log shown on failure


class Process:
    """One program with its log."""

    def __init__(
        self, name: str, command: list[str], *, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name, self.command, self.log = name, command, log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [*_DYING_WITH_PARENT, *command],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=environment,
            )

    @property
    def pid(self) -> int:
        """Pid of the process."""
        return self._popen.pid

    def check(self) -> None:
        """Raises RuntimeError with the tail of the log when the process has ended."""
        if self._popen.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self._popen.returncode}:\n{self.tail()}")

    def tail(self) -> str:
        """Returns the end of the log."""
        return self.log.read_text(errors="replace")[-_TAIL:]

    def stop(
        self, sent: Callable[[subprocess.Popen[bytes]], None] = subprocess.Popen.terminate, *, patience: float = 5
    ) -> None:
        """Ends the process by its pid: politely, then surely; ``patience`` is in seconds."""
        if self._popen.poll() is None:
            sent(self._popen)
            try:
                self._popen.wait(patience)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                self._popen.wait(5)
