"""`started`: `mobilenets serve` as a process."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import urllib3


class Process:
    """A server in a process of its own."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mobilenets", "serve", "--port", "0", *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().removeprefix("serving at ").strip()
        self.pool = urllib3.PoolManager(retries=False, timeout=20, maxsize=32)

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events of a name in the log."""
        found = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [event for event in found if event["event"] == name]

    def ended(self) -> int:
        """The exit code."""
        return self.process.wait(20)


@contextlib.contextmanager
def started(*arguments: str, folder: Path) -> Iterator[Process]:
    process = Process(*arguments, folder=folder)
    try:
        yield process
    finally:
        process.process.kill()
        process.process.wait()
