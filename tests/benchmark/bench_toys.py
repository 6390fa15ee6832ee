"""Runtimes whose speed and failures are known: `.nap` files say how many milliseconds a run takes, or how it fails."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mobilenets.runtime.engines.base import Engine, Outputs
from mobilenets.runtime.engines.table import Runtime
from mobilenets.runtime.manifest import Manifest
from mobilenets.specs.model import InputContract
from mobilenets.table import Table


class Nap(Engine):
    """Sleeps for each image as many ms as its file says. It is an int8 network if "int8" is in the file's name."""

    outputs = ("logits",)

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self.path, self.source = path, str(path)
        self.text = path.read_text()
        os.write(1, b"a runtime that talks on standard output\n")
        if self.text == "damaged":
            raise ValueError("the file is damaged\nand more")

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        if self.text == "crash":
            os.write(2, b"illegal instruction at 0x0\n")
            os.kill(os.getpid(), signal.SIGILL)
        time.sleep(float(self.text) * len(batch) / 1000)
        return {"logits": 8 * batch.mean(axis=(2, 3))}

    def manifest(self) -> Manifest:
        precision = "int8" if "int8" in self.path.name else "float32"
        return Manifest("nap", ("red", "green", "blue"), InputContract(size=16), precision=precision)  # type: ignore[arg-type]


ENGINES: Table[Runtime] = Table(
    "kind of file",
    {
        ".nap": Runtime("Nap", Nap, "nap"),
        ".doze": Runtime("Doze", Nap, "doze", also=(".nap",)),
        ".gone": Runtime("Gone", Nap, "gone", module="no_such_module", package="no-such-package", extra="tflite"),
        ".away": Runtime("Away", Nap, "away", systems=("no such system",)),
    },
)
TABLE = "bench_toys:ENGINES"

OF_DEVICES: Table[Runtime] = Table(
    "kind of file",
    {
        ".tflite": Runtime("LiteRT, but not here", Nap, "tflite", module="no_such_module"),
        ".onnx": Runtime("ONNX Runtime, but not here", Nap, "onnx", module="no_such_module"),
    },
)
"""Runtimes that only the device has."""
