"""`Worker`: the benchmark's handle to a process that has one file open on one runtime."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from typing import IO, Any

from mobilenets.errors import MobileNetsError

TABLE = "mobilenets.runtime.engines.table:ENGINES"
"""Where worker processes find the runtimes."""

TIMEOUT_S = 300.0
"""Most seconds that a process may take to open a file, or to carry out one order."""


class WorkerError(MobileNetsError):
    """A process that failed, died or does not answer; the message says why."""


class Worker:
    """A worker process of the benchmark. It exits when its pipe is closed, even if this program is killed.

    Args:
        job: the first line of its input; the launch time is added.
        module: the module that it runs.
        timeout_s: timeout for an answer, in seconds.
    """

    def __init__(
        self, job: Mapping[str, object], *, module: str = "mobilenets.benchmark.worker", timeout_s: float = TIMEOUT_S
    ) -> None:
        self._timeout_s = timeout_s
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        self._lines: queue.Queue[str | None] = queue.Queue()
        launched = time.time()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C interrupts the benchmark, which then ends its processes
        )
        threading.Thread(target=self._listen, daemon=True).start()
        self._tell({**job, "launched": launched})

    def answer(self) -> dict[str, Any]:  # Any: JSON
        """The next answer.

        Raises:
            WorkerError: the process failed, died or took too long.
        """
        try:
            line = self._lines.get(timeout=self._timeout_s)
        except queue.Empty:
            raise WorkerError(f"its process did not answer within {self._timeout_s:g} s") from None
        if line is None:
            raise WorkerError(self._death())
        data: dict[str, Any] = json.loads(line)
        if "error" in data:
            raise WorkerError(str(data["error"]))
        return data

    def ask(self, do: str, **more: object) -> dict[str, Any]:  # Any: JSON
        """The answer to an order; raises the same errors as `answer`."""
        self._tell({"do": do, **more})
        return self.answer()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # it died before it read an order
                    stream.close()
        self._said.close()

    def _tell(self, data: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it is dead, which the next answer reports
            self._process.stdin.write(json.dumps(data) + "\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # closed meanwhile
            for line in self._process.stdout:
                self._lines.put(line)
        self._lines.put(None)

    def _death(self) -> str:
        """How the process died, and its last output."""
        code = self._process.wait()
        self._said.seek(0)
        lines = self._said.read()[-10_000:].decode("utf-8", "replace").strip().splitlines()
        last = f": {lines[-1].strip()[:200]}" if lines else ""
        return f"its process {ended(code)}{last}"


def ended(code: int) -> str:
    """How a process ended, for a message.

    >>> ended(3), ended(-4)
    ('ended with exit code 3', 'was ended by SIGILL (an instruction that this processor does not have)')
    """
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was ended by {name}{_SIGNALS.get(name, '')}"


_SIGNALS = {
    "SIGILL": " (an instruction that this processor does not have)",
    "SIGKILL": " (perhaps there was too little memory)",
    "SIGSEGV": " (a crash inside the runtime)",
    "SIGABRT": " (the runtime gave up)",
}
