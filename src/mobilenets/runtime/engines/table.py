"""`ENGINES`: which runtime opens which kind of file."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mobilenets.runtime.engines.base import Engine
from mobilenets.runtime.engines.coreml import CoreMlEngine
from mobilenets.runtime.engines.executorch import ExecuTorchEngine
from mobilenets.runtime.engines.litert import LiteRtEngine
from mobilenets.runtime.engines.native import NativeEngine
from mobilenets.runtime.engines.onnx import OnnxEngine
from mobilenets.runtime.engines.openvino import OpenVinoEngine
from mobilenets.table import Table


class OpenEngine(Protocol):
    """Opens an exported file; the class of each engine is one."""

    def __call__(self, path: Path, threads: int | None = None) -> Engine:
        """The engine, which computes a batch with this many threads; raises CheckpointError."""
        ...


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime and how its files are opened.

    Args:
        title: name of the runtime, for people.
        open: opens a file. It imports the runtime, so that only its users need it.
        name: what users type, such as "onnx"; "" if that is the file extension without the dot.
        module: the runtime's Python module, such as "onnxruntime"; "" for none.
        package: the module's name on PyPI; "" for the same name.
        extra: the extra of `mobilenets` that installs it; "" for the base install.
        source: what to give pip if no index has the package, such as "./native" in a clone of this repository; else "".
        also: extensions of other runtimes' files that it reads too.
        weights: extension of the separate file that holds the weights, such as ".bin"; "" if they are in the main file.
        systems: systems that it runs on, as `sys.platform` names them; empty for all.
    """

    title: str
    open: OpenEngine
    name: str = ""
    module: str = ""
    package: str = ""
    extra: str = ""
    source: str = ""
    also: tuple[str, ...] = ()
    weights: str = ""
    systems: tuple[str, ...] = ()

    @property
    def runs_here(self) -> bool:
        """Whether it runs on this system and is installed."""
        return self.fits_system and self.installed

    @property
    def fits_system(self) -> bool:
        """Whether it could run on this system if it were installed."""
        return not self.systems or sys.platform in self.systems

    @property
    def installed(self) -> bool:
        """Whether its module can be found; the module is not imported."""
        try:
            return not self.module or importlib.util.find_spec(self.module) is not None
        except (ImportError, ValueError):
            return False

    @property
    def version(self) -> str:
        """The version of its package; "" if that is unknown."""
        try:
            return importlib.metadata.version(self.package or self.module)
        except (importlib.metadata.PackageNotFoundError, ValueError):
            return ""


# fmt: off
ENGINES: Table[Runtime] = Table("kind of exported file", {
    ".onnx":   Runtime("ONNX Runtime", OnnxEngine, "onnx", "onnxruntime"),
    ".tflite": Runtime("LiteRT", LiteRtEngine, "tflite", "ai_edge_litert", "ai-edge-litert", "tflite"),
    ".xml":    Runtime("OpenVINO", OpenVinoEngine, "openvino", "openvino", extra="openvino", also=(".onnx",), weights=".bin"),
    ".pte":    Runtime("ExecuTorch", ExecuTorchEngine, "executorch", "executorch", extra="executorch"),
    ".mlpackage": Runtime("Core ML", CoreMlEngine, "coreml", "coremltools", extra="coreml", systems=("darwin",)),
    ".graph": Runtime("mobilenets-native", NativeEngine, "native", "mobilenets_native", "mobilenets-native", source="./native"),
})
# fmt: on
"""Runtimes by file extension, in lower case. If a folder has several kinds of files, the first in this order counts.

To add a runtime of your own: `Predictor.open(path, engines={**ENGINES, ".toy": Runtime("Toy", ToyEngine)})`.
"""


def named(engines: Mapping[str, Runtime] = ENGINES) -> Table[tuple[str, Runtime]]:
    """The runtimes by the name that users type, each with its file extension.

    >>> named()["onnx"][1].title
    'ONNX Runtime'
    """
    return Table(
        "runtime", {runtime.name or ending.removeprefix("."): (ending, runtime) for ending, runtime in engines.items()}
    )


def known_endings(engines: Mapping[str, Runtime]) -> str:
    """The extensions for a message: `.onnx`, or `.onnx, .tflite or .toy`."""
    *first, last = engines
    return f"{', '.join(first)} or {last}" if first else last
