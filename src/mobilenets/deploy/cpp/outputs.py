"""The outputs of exported C++: their types and shapes, and their descriptions in code and documentation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import Graph
from mobilenets.errors import GraphError
from mobilenets.specs.model import TASK_NOUNS, Task


@dataclass(frozen=True, slots=True)
class Returned:
    """One output.

    Args:
        name: the name that the decoder expects.
        value: name of the graph's value.
        number: type of its numbers.
        shape: shape in memory; a feature map is H W C.
        is_map: whether it is a feature map, C H W in Python.
    """

    name: str
    value: str
    number: np.dtype[Any]  # Any: floats, 8-bit integers, or indices of 8 or 32 bits
    shape: tuple[int, ...]
    is_map: bool

    @property
    def extents(self) -> str:
        """The shape in C++ notation: `[12][16][3]`."""
        return "".join(f"[{length}]" for length in self.shape)

    @property
    def size_bytes(self) -> int:
        """The size of the output for one image."""
        return math.prod(self.shape) * self.number.itemsize


@dataclass(frozen=True, slots=True)
class Kind:
    """The purpose of an exported folder, which follows from the task and the names of the outputs.

    Args:
        does: what the network does, for its documentation.
        show: the file that is copied as `show.hpp`.
        arguments: the arguments of the example program.
        about: a description of each output.
    """

    does: str
    show: str
    arguments: str
    about: Mapping[str, str]


# fmt: off
KINDS: dict[tuple[Task, frozenset[str]], Kind] = {
    ("classify", frozenset({"logits"})): Kind(
        "Classifies images of", "show_classes.hpp", "image.ppm",
        {"logits": "of each class; a score is their softmax, after division by `temperature`"},
    ),
    ("segment", frozenset({"logits"})): Kind(
        "Finds the class of each place of a coarse map, on images of", "show_pixels.hpp", "image.ppm classes.pgm",
        {"logits": "of each class at each place of a coarse map, row by row; the largest is the place's class"},
    ),
    ("segment", frozenset({"classes"})): Kind(
        "Finds the class of each pixel, on images of", "show_pixels.hpp", "image.ppm classes.pgm",
        {"classes": "the class of each pixel, an index into `labels`"},
    ),
    ("detect", frozenset({"logits", "offsets"})): Kind(
        "Computes logits and offsets at every anchor of SSD, on images of", "show_anchors.hpp", "image.ppm",
        {"logits": "of each class at each anchor; of the background first, if there is one more column than classes",
         "offsets": "of a box from each anchor: center and size, as SSD codes them (its eq. 2)"},
    ),
    ("detect", frozenset({"boxes", "scores", "classes"})): Kind(
        "Finds boxes, on images of", "show_boxes.hpp", "image.ppm",
        {"boxes": "x0 y0 x1 y1 in px of the network's input",
         "scores": "of each box, the highest first; 0 where there is no box any more",
         "classes": "of each box, an index into `labels`; -1 where there is no box"},
    ),
}
# fmt: on
"""Every kind of folder, by task and outputs."""


def kind_of(graph: Graph) -> Kind:
    """The kind of folder for a graph.

    Raises:
        GraphError: the decoders of the task do not know its outputs.
    """
    task, names = graph.manifest.task, frozenset(graph.outputs)
    if (task, names) not in KINDS:
        known = " or ".join(", ".join(sorted(each)) for of, each in KINDS if of == task)
        raise GraphError(
            f"it is a {TASK_NOUNS[task]} model and returns {', '.join(sorted(names))}, but exported C++ returns {known}"
        )
    return KINDS[task, names]


def returned(graph: Graph) -> tuple[Returned, ...]:
    """The outputs of a graph, in order."""
    shapes = graph.shapes()
    types: dict[str, np.dtype[Any]] = {  # Any: as in `Returned`
        operator.output: np.dtype(np.uint8) for operator in graph.operators if isinstance(operator, op.ArgMax)
    }
    types |= {operator.made[2]: np.dtype(np.int32) for operator in graph.operators if isinstance(operator, op.Nms)}
    types |= dict.fromkeys(graph.quantization, np.dtype(np.int8))
    return tuple(
        Returned(name, value, types.get(value, np.dtype(np.float32)), _in_memory(shapes[value]), len(shapes[value]) == 3)
        for name, value in graph.outputs.items()
    )


def parsed(data: bytes, outputs: tuple[Returned, ...]) -> dict[str, NDArray[Any]]:  # Any: as in `Returned`
    """The output of the program `check` as arrays by name, in the shapes used in Python.

    Args:
        data: all outputs of each image, one after the other.
        outputs: the outputs of the network.
    """
    each = np.frombuffer(data, np.uint8).reshape(-1, sum(output.size_bytes for output in outputs))
    arrays: dict[str, NDArray[Any]] = {}
    start = 0
    for output in outputs:
        part = np.ascontiguousarray(each[:, start : start + output.size_bytes])
        numbers = part.view(output.number).reshape(-1, *output.shape)
        arrays[output.name] = numbers.transpose(0, 3, 1, 2) if output.is_map else numbers
        start += output.size_bytes
    return arrays


def _in_memory(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[1:], shape[0]) if len(shape) == 3 else shape
