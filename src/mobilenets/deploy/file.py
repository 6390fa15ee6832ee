"""Graph files: safetensors files whose header holds operators, outputs and manifest. Loading one runs no code."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from msgspec import Meta

from mobilenets.deploy.graph import Graph
from mobilenets.deploy.operators import CHOICES, Operator
from mobilenets.deploy.quantization import HIGHEST, LOWEST, Quantization
from mobilenets.documents import decode, encode, parse
from mobilenets.errors import CheckpointError, GraphError, MobileNetsError
from mobilenets.files import write_bytes
from mobilenets.runtime.checksum import BLANK, KEY, check_whole, sealed
from mobilenets.runtime.manifest import METADATA_KEY, Manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 1
_GRAPH_KEY = "graph"
_SCALES = "scales/"  # prefix of a tensor that holds the scales of a value or weight
_TYPES = {np.dtype(np.float32): "F32", np.dtype(np.int8): "I8", np.dtype(np.int32): "I32"}
ZeroPoint = Annotated[int, Meta(ge=LOWEST, le=HIGHEST)]


@dataclass(frozen=True, slots=True)
class Structure:
    """The part of a graph that is stored in the header: everything but manifest, weights and scales.

    Args:
        format: `FORMAT`, or the format of an earlier version.
        operators, outputs: those of the graph.
        zero_points: of quantized values and weights, by name.
    """

    format: int
    operators: Annotated[tuple[Operator, ...], Meta(min_length=1, max_length=100_000)]
    outputs: dict[str, str]
    zero_points: dict[str, ZeroPoint] = field(default_factory=dict)


def structure_of(graph: Graph) -> Structure:
    """The structure of a graph."""
    zero_points = {name: quantization.zero_point for name, quantization in graph.quantization.items()}
    return Structure(FORMAT, graph.operators, dict(graph.outputs), zero_points)


def save(graph: Graph, path: Path) -> None:
    """Write a graph.

    Args:
        graph: checked before it is written.
        path: the `.safetensors` file; its folder is created.

    Raises:
        GraphError: the graph is not valid.
        OSError: the file cannot be written.
    """
    from safetensors.numpy import save as packed

    graph.check()
    write_bytes(path, sealed(packed(_tensors(graph), {**_metadata(graph), KEY: BLANK})))


def save_without(graph: Graph, path: Path, behind: bytes) -> None:
    """Write a graph without the tensors that another file contains.

    The bytes of this file followed by those of the other file are a valid graph file. Every tensor whose bytes occur in the
    other file is read from there.

    Args:
        graph: checked before it is written.
        path: the file; its folder is created.
        behind: content of the other file, such as an ONNX file with the same weights.

    Raises:
        GraphError: the graph is not valid.
        OSError: the file cannot be written.
    """
    graph.check()
    own, places = bytearray(), {}
    for name, tensor in _tensors(graph).items():
        found = behind.find(tensor.tobytes())
        places[name] = (tensor, found if found >= 0 else len(own), found >= 0)
        if found < 0:
            own += tensor.tobytes()
    header: dict[str, object] = {"__metadata__": _metadata(graph)}
    for name, (tensor, at, is_behind) in places.items():
        begin = at + (len(own) if is_behind else 0)
        header[name] = {"dtype": _TYPES[tensor.dtype], "shape": tensor.shape, "data_offsets": (begin, begin + tensor.nbytes)}
    text = json.dumps(header).encode()
    write_bytes(path, len(text).to_bytes(8, "little") + text + own)


def load(path: Path) -> Graph:
    """Load a graph that `save` wrote.

    Raises:
        GraphError: the file is missing, damaged or in another format, or its operators are not a valid network.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
        whole = path.read_bytes() if KEY in metadata else b""
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise GraphError(f"'{path}' cannot be read as a graph: {error}") from error
    for key in (_GRAPH_KEY, METADATA_KEY):
        if key not in metadata:
            raise GraphError(f"'{path}' has no '{key}' in its header", hint="lower the model again")
    try:
        check_whole(whole, str(path))
    except CheckpointError as error:
        raise GraphError(str(error), hint=error.hint) from error
    try:
        written = decode(parse(metadata[_GRAPH_KEY]), Structure, choices=CHOICES)
        if written.format != FORMAT:
            raise GraphError(f"it has format {written.format}, but this version reads format {FORMAT}")
        quantization = {
            name: _quantization(name, tensors.pop(_SCALES + name, None), zero) for name, zero in written.zero_points.items()
        }
        manifest = Manifest.from_json(metadata[METADATA_KEY])
        graph = Graph(manifest, written.operators, tensors, written.outputs, quantization)
        graph.check()
    except MobileNetsError as error:
        raise GraphError(f"'{path}' is not a graph: {error}", hint="lower the model again") from error
    return graph


def _tensors(graph: Graph) -> dict[str, NDArray[np.generic]]:
    """Weights and scales as contiguous arrays: safetensors writes an array's memory, whatever the order of its axes."""
    scales = {_SCALES + name: np.asarray(quantization.scales, np.float32) for name, quantization in graph.quantization.items()}
    return {name: np.ascontiguousarray(numbers) for name, numbers in {**graph.tensors, **scales}.items()}


def _metadata(graph: Graph) -> dict[str, str]:
    return {
        _GRAPH_KEY: json.dumps(encode(structure_of(graph), choices=CHOICES)),
        METADATA_KEY: graph.manifest.to_json(),
    }


def _quantization(name: str, scales: NDArray[np.generic] | None, zero_point: int) -> Quantization:
    if scales is None or scales.dtype != np.float32 or scales.ndim != 1:
        raise GraphError(f"the scales of '{name}' must be a list of 32-bit floats")
    return Quantization(tuple(scales.tolist()), zero_point)
