"""`read`: reads the graph of an exported file, for the formats that allow it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mobilenets.deploy import file
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.read_onnx import read_onnx
from mobilenets.deploy.read_tflite import read_tflite
from mobilenets.errors import GraphError

READERS: dict[str, Callable[[Path], Graph]] = {
    ".onnx": read_onnx,
    ".tflite": read_tflite,
    ".graph": file.load,
    ".safetensors": file.load,
}
"""The reader for each file extension, in lower case. Other formats do not keep the operators as they were."""


def read(path: Path) -> Graph:
    """The graph of an exported file or of a graph file.

    Args:
        path: an `.onnx`, `.tflite` or `.graph` file that `mobilenets export` wrote, or a `.safetensors` file with a graph. A
            `.tflite` file must be a float model.

    Raises:
        CheckpointError: the file has no manifest.
        GraphError: the file is missing or damaged, or its network cannot be read back.
        MissingExtraError: a library that reads such files is not installed.
    """
    if not path.is_file():
        raise GraphError(f"there is no file '{path}'")
    if path.suffix.lower() not in READERS:
        raise GraphError(
            f"'{path}' cannot be read back: only {', '.join(READERS)} files keep the network's operators",
            hint=f"give the run folder or an exported file; for weights from elsewhere: mobilenets convert {path}",
        )
    return READERS[path.suffix.lower()](path)


def read_floats(path: Path) -> Graph:
    """The same as `read`, for float networks only.

    Raises:
        GraphError: the network is quantized, or for the reasons of `read`.
    """
    graph = read(path)
    if graph.quantization:
        raise GraphError(f"'{path}' is quantized already", hint="give the float model that it was made from")
    return graph
