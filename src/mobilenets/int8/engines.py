"""Engines for graphs: export to a runtime on this machine whose results agree with the reference executor's."""

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
"""A runtime counts as correct if the signal-to-noise ratio of its outputs, relative to the reference executor's, is at least
this. Fast kernels round differently, by one step of 256, which leaves 17 dB or more even in networks that amplify all noise."""

_LOOKED_AT = 2  # images that both run


@dataclass(frozen=True, slots=True)
class Running:
    """A graph on a runtime.

    Args:
        engine: runs the graph with one thread.
        title: name and version of the runtime.
        file: the file that the engine runs; None for the reference executor.
        refused: the runtimes that were tried first and could not run this network correctly here, each with the reason.
    """

    engine: Engine
    title: str
    file: Path | None
    refused: tuple[tuple[str, str], ...] = ()


class ReferenceEngine(Engine):
    """The reference executor as an engine: correct on every machine, but slow."""

    concurrent = True

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.outputs = tuple(graph.outputs)
        self.input_shape = graph.manifest.input.shape

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """The outputs by name, for preprocessed images `N C H W`."""
        return reference.run(self.graph, batch)

    def manifest(self) -> Manifest:
        """The manifest of the graph."""
        return self.graph.manifest


def running(graph: Graph, stem: Path, images: NDArray[np.float32], *, like: Running | None = None) -> Running:
    """The graph on the first runtime of this machine that computes it correctly; files for the others are removed.

    A runtime may lack a kernel for an operator or implement it differently, so each is compared with the reference executor
    before it is used.

    Args:
        graph: a float or quantized network.
        stem: path of the file to write, without extension.
        images: preprocessed, N C H W; only the first ones are run.
        like: try the runtime of this one first, so that both can be compared.
    """
    some = images[:_LOOKED_AT]
    expected = reference.run(graph, some)
    refused = []
    endings = sorted(_WRITERS, key=lambda ending: like is None or like.file is None or like.file.suffix != ending)
    for ending in endings:
        file = stem.with_name(stem.name + ending)
        title = f"{ENGINES[ending].title} {ENGINES[ending].version}".strip()  # no version if it is not installed
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
    """A graph on the same runtime as another one, so that latencies can be compared; `now` if it is already the same.

    Args:
        other: the graph whose runtime is wanted.
        graph: the graph to run.
        now: the graph on its current runtime.
        stem, images: as for `running`, which picks another runtime after all if that one does not compute the graph correctly.
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
    """Signal-to-quantization-noise ratio of the outputs, in dB; for several outputs, see `joined_decibels`."""
    meant, made = outputs_of(real, images), outputs_of(int8, images)
    return joined_decibels([decibels(meant[name], made[name]) for name in meant])


def joined_decibels(each: list[float]) -> float:
    """The mean of several signal-to-noise ratios in dB, averaged as noise-to-signal ratios.

    >>> joined_decibels([10.0, 10.0]), round(joined_decibels([10.0, 60.0]), 2)
    (10.0, 13.01)
    """
    noise = float(np.mean([10 ** (-value / 10) for value in each]))
    return float("inf") if noise == 0 else -10 * float(np.log10(noise))


def _written(graph: Graph, file: Path, ending: str) -> Engine:
    """The engine for a new file.

    Raises:
        MobileNetsError: the library that writes or runs it is not installed, or cannot do so.
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


# Runtimes of devices come first, since the measured drop should be that of their files. The native engine comes last: it is
# exact, so the slow reference executor is never needed where it is installed.
_WRITERS: dict[str, Callable[[Graph, Path], None]] = {".onnx": _write_onnx, ".tflite": _write_tflite, ".graph": save}
_OPEN: dict[str, Any] = {".onnx": OnnxEngine, ".tflite": LiteRtEngine, ".graph": NativeEngine}  # Any: take a path and threads
