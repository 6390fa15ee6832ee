"""`Step`: an operator as a record of the kernels' headers; `Context`: the input of the functions that create steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilenets.deploy.cpp.schedule import Place
from mobilenets.deploy.cpp.text import Array, Field
from mobilenets.deploy.graph import Graph
from mobilenets.deploy.quantization import Quantization

Record = Mapping[str, Field | None]


@dataclass(frozen=True, slots=True)
class Step:
    """An operator that is ready to run.

    Args:
        kind: the record's type in C++.
        fields: the fields of the record.
        panels: number of panels of channels; 1 if the channels cannot be divided.
        arrays: the arrays that the record refers to.
        scratch: a C++ expression for the bytes of scratch memory that the operator needs, with {} for the record.
        reads: the values that it reads, if they differ from the operator's inputs.
    """

    kind: str
    fields: Record
    panels: int = 1
    arrays: tuple[Array, ...] = ()
    scratch: str = "0"
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """The input of a function that creates a step.

    Args:
        graph: the graph of the operator.
        places: the places of all values.
        number: index of the operator, for the names of its arrays.
    """

    graph: Graph
    places: Mapping[str, Place]
    number: int

    def quantization(self, name: str) -> Quantization | None:
        """The quantization of a value or weight; None for floats."""
        return self.graph.quantization.get(name)

    def array(self, part: str, numbers: NDArray[Any], about: str = "") -> Array:
        """A constant of this operator."""
        return Array(f"{part}_{self.number}", np.ascontiguousarray(numbers), about)
