"""Engines for graphs: a file for a runtime of this machine that computes what the reference executor computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilenets.deploy import reference
from mobilenets.deploy.file import save
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.quantize.values import decibels
from mobilenets.deploy.write_onnx import to_onnx
from mobilenets.deploy.write_tflite import to_tflite
from mobilenets.errors import MobileNetsError
from mobilenets.files import write_bytes
from mobilenets.runtime.engines.base import Engine, Outputs
from mobilenets.runtime.engines.gate import Gate
from mobilenets.runtime.engines.litert import LiteRtEngine
from mobilenets.runtime.engines.native import NativeEngine
from mobilenets.runtime.engines.onnx import OnnxEngine
from mobilenets.runtime.engines.table import ENGINES
from mobilenets.runtime.manifest import Manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALIKE_DB = 15.0
"""Signal to noise of a runtime's outputs against the reference executor's from which on it counts as right. Fast kernels round
in their own ways, one step of 256 in a value, which gives 17 dB and more even in networks that amplify every noise."""

_LOOKED_AT = 2  # images that both run


@dataclass(frozen=True, slots=True)
class Running:
    """A graph that runs.

    Args:
        engine: runs it, with one thread.
        title: of the runtime, with its version.
        file: that the engine runs; None for the reference executor.
        refused: runtimes that are installed but do not compute this network right here, with the reason.
    """

    engine: Engine
    title: str
    file: Path | None
    refused: tuple[tuple[str, str], ...] = ()


class ReferenceEngine(Engine):
    """The reference executor as an engine: right on every machine, and slow."""

    concurrent = True

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.outputs = tuple(graph.outputs)
        self.input_shape = graph.manifest.input.shape

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """The outputs by name, for preprocessed images `N C H W`."""
        return reference.run(self.graph, batch)

    def manifest(self) -> Manifest:
        """The graph's."""
        return self.graph.manifest


def running(graph: Graph, stem: Path, images: NDArray[np.float32], *, like: Running | None = None) -> Running:
    """The graph on the first runtime of this machine that computes it right; files of the others are removed.

    A runtime may have no kernel for an operator, or another idea of it, so each is compared with the reference executor before
    it is used.

    Args:
        graph: in floats or integers.
        stem: of the file to write, without ending.
        images: preprocessed, N C H W; the first ones are run.
        like: take the runtime of this one if possible, so that both can be compared.
    """
    some = images[:_LOOKED_AT]
    expected = reference.run(graph, some)
    refused = []
    endings = sorted(_WRITERS, key=lambda ending: like is None or like.file is None or like.file.suffix != ending)
    for ending in endings:
        file = stem.with_name(stem.name + ending)
        title = f"{ENGINES[ending].title} {ENGINES[ending].version}".strip()  # no version where it is not installed
        try:
            engine = _written(graph, file, ending)
            gate = Gate(engine, 1)
            off = _least_decibels(expected, gate.run(some))
        except (MobileNetsError, OSError) as error:
            refused.append((title, str(error)))
        else:
            if off >= ALIKE_DB:
                return Running(engine, title, file, tuple(refused))
            engine.close()
            refused.append(
                (
                    title,
                    f"its outputs are {off:.1f} dB from what the integers mean, and {ALIKE_DB:.0f} dB are needed",
                )
            )
        file.unlink(missing_ok=True)
    return Running(ReferenceEngine(graph), "the reference executor", None, tuple(refused))


def on_runtime_of(other: Running, graph: Graph, now: Running, stem: Path, images: NDArray[np.float32]) -> Running:
    """A graph on the runtime that another one runs on, so that times can be compared: as it runs now, if that is the same.

    Args:
        other: on the runtime that is wanted.
        graph: to run.
        now: how it runs so far.
        stem, images: as for `running`. It is another runtime nevertheless where that one does not compute the graph right.
    """
    if now.title == other.title:
        return now
    if other.file is None:
        return Running(ReferenceEngine(graph), other.title, None)
    return running(graph, stem, images, like=other)


def outputs_of(engine: Engine, images: NDArray[np.float32], *, at_once: int = 8) -> dict[str, NDArray[Any]]:
    """The outputs by name for preprocessed images N C H W."""
    gate = Gate(engine, 1)
    parts = [gate.run(images[i : i + at_once]) for i in range(0, len(images), at_once)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def signal_to_noise(real: Engine, int8: Engine, images: NDArray[np.float32]) -> float:
    """Signal to quantization noise of the outputs, dB; of several outputs the mean of their noise shares."""
    meant, made = outputs_of(real, images), outputs_of(int8, images)
    return joined_decibels([decibels(meant[name], made[name]) for name in meant])


def joined_decibels(each: list[float]) -> float:
    """Of several outputs: the mean of what share of the signal is noise, in dB.

    >>> joined_decibels([10.0, 10.0]), round(joined_decibels([10.0, 60.0]), 2)
    (10.0, 13.01)
    """
    noise = float(np.mean([10 ** (-value / 10) for value in each]))
    return float("inf") if noise == 0 else -10 * float(np.log10(noise))


def _written(graph: Graph, file: Path, ending: str) -> Engine:
    """The engine for a new file.

    Raises:
        MobileNetsError: what writes or runs it is not installed, or cannot do so.
    """
    _WRITERS[ending](graph, file)
    engine: Engine = _OPEN[ending](file, threads=1)
    return engine


def _least_decibels(expected: dict[str, NDArray[Any]], made: Outputs) -> float:  # Any: floats
    return min(decibels(values, made[name]) for name, values in expected.items())


def _write_onnx(graph: Graph, path: Path) -> None:
    write_bytes(path, to_onnx(graph).SerializeToString())


def _write_tflite(graph: Graph, path: Path) -> None:
    write_bytes(path, to_tflite(graph))


# The runtimes of devices come first, since the drop is to be what their files lose. The native engine is exact, so that nothing
# falls to the reference executor where it is installed.
_WRITERS: dict[str, Callable[[Graph, Path], None]] = {".onnx": _write_onnx, ".tflite": _write_tflite, ".graph": save}
_OPEN: dict[str, Any] = {".onnx": OnnxEngine, ".tflite": LiteRtEngine, ".graph": NativeEngine}  # Any: take a path and threads
