"""`ENGINES`: which runtime opens a file of which kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mobilenets.runtime.engines.base import Engine
from mobilenets.runtime.engines.litert import LiteRtEngine
from mobilenets.runtime.engines.onnx import OnnxEngine
from mobilenets.table import Table


class OpenEngine(Protocol):
    """Opens an exported file; the class of an engine is one."""

    def __call__(self, path: Path, threads: int | None = None) -> Engine:
        """The engine, which computes one batch with this many threads; raises CheckpointError."""
        ...


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime and how its files are opened.

    Args:
        title: its name, for people.
        open: opens a file. It imports the runtime, so that only those who use it need it.
    """

    title: str
    open: OpenEngine


# fmt: off
ENGINES: Table[Runtime] = Table("kind of exported file", {
    ".onnx":   Runtime("ONNX Runtime", OnnxEngine),
    ".tflite": Runtime("LiteRT", LiteRtEngine),
})
# fmt: on
"""By the ending of the file's name, lower case; of several in one folder the first one counts.

A runtime from outside is one more entry: `Predictor.open(path, engines={**ENGINES, ".toy": Runtime("Toy", ToyEngine)})`.
"""


def known_endings(engines: Mapping[str, Runtime]) -> str:
    """The endings for a message: `.onnx`, or `.onnx, .tflite or .toy`."""
    *first, last = engines
    return f"{', '.join(first)} or {last}" if first else last
