"""`Step`: an operator as a record of the kernels' headers, and `Context`: what the rules that make them look at."""

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
        fields: of the record.
        panels: that the channels are computed in; 1 where they cannot be divided.
        arrays: that the record names.
        scratch: the bytes of memory that the operator needs besides, in C++, with {} for the record.
        reads: the values that it reads, if there are others than the operator's inputs.
    """

    kind: str
    fields: Record
    panels: int = 1
    arrays: tuple[Array, ...] = ()
    scratch: str = "0"
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """What a rule looks at.

    Args:
        graph: of the operator.
        places: of all values.
        number: of the operator, for the names of its arrays.
    """

    graph: Graph
    places: Mapping[str, Place]
    number: int

    def quantization(self, name: str) -> Quantization | None:
        """Of a value or a weight; None for floats."""
        return self.graph.quantization.get(name)

    def array(self, part: str, numbers: NDArray[Any], about: str = "") -> Array:
        """A constant of this operator."""
        return Array(f"{part}_{self.number}", np.ascontiguousarray(numbers), about)
