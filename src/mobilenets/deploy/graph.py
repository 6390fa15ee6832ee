"""`Graph`: a network as plain data, with checks that it is valid."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.deploy.int8_rules import int8_problems
from mobilenets.deploy.operators import MatMul, Operator
from mobilenets.deploy.quantization import Quantization
from mobilenets.deploy.shapes import Shape, shapes_of
from mobilenets.errors import GraphError
from mobilenets.runtime.manifest import Manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

INPUT = "image"
"""Name of the input value of every graph."""

_MOST_NUMBERS = 2**31 - 1  # in one value


@dataclass(frozen=True)
class Graph:
    """A network as a device sees it: batch norms folded, activations fused, weights as arrays.

    Args:
        manifest: labels, head and input contract.
        operators: in topological order: each reads only values that earlier ones produce.
        tensors: weights by name.
        outputs: maps each output's name, as the decoder knows it ("logits"), to the name of its value.
        quantization: of the values and weights that are 8-bit integers, by name; empty for a float network. Biases are 32-bit
            integers without an entry: `quantization.bias_scales` derives their scales.
    """

    manifest: Manifest
    operators: tuple[Operator, ...]
    tensors: Mapping[str, NDArray[np.generic]]
    outputs: Mapping[str, str]
    quantization: Mapping[str, Quantization] = field(default_factory=dict)

    def shapes(self) -> dict[str, Shape]:
        """The shape of every value, without the batch axis; the input first.

        Raises:
            GraphError: an operator does not fit the shapes of its inputs.
        """
        contract = self.manifest.input
        shapes: dict[str, Shape] = {INPUT: (contract.channels, *contract.shape)}
        for operator in self.operators:
            made = shapes_of(operator, [shapes[name] for name in operator.inputs], self.tensors)
            shapes.update(zip(operator.made, made, strict=True))
        return shapes

    @property
    def weights_bytes(self) -> int:
        """Size of all weights, in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def quantized(self, operator: Operator) -> bool:
        """Whether an operator reads or produces 8-bit integers."""
        return any(name in self.quantization for name in (*operator.inputs, *operator.made))

    def readers(self) -> Counter[str]:
        """The number of readers of each value; an output of the network counts as one more."""
        counts = Counter(name for operator in self.operators for name in operator.inputs)
        counts.update(self.outputs.values())
        return counts

    def check(self) -> None:
        """Check that this is a valid network.

        Raises:
            GraphError: a value is read before it is produced or is produced twice, a weight is missing or not finite, shapes do
                not fit, or integers are used in a way that the int8 specification does not allow.
        """
        for problem in _problems(self):
            raise GraphError(problem)
        shapes = self.shapes()
        for name, shape in shapes.items():
            if math.prod(shape) > _MOST_NUMBERS:
                raise GraphError(f"'{name}' has {math.prod(shape):,} numbers, and {_MOST_NUMBERS:,} can be addressed")
        for problem in int8_problems(self, shapes):
            raise GraphError(problem)


def _problems(graph: Graph) -> Iterator[str]:
    made = {INPUT}
    names: set[str] = set()
    for operator in graph.operators:
        if not operator.name or not operator.output:
            yield f"an operator that makes '{operator.output}' is called '{operator.name}'; neither name may be empty"
        if isinstance(operator, MatMul) and not math.isfinite(operator.factor):
            yield f"'{operator.name}' has the factor {operator.factor}"
        if operator.name in names:
            yield f"two operators are called '{operator.name}'"
        for name in operator.made:
            if name in made:
                yield f"'{name}' is made twice, the second time by '{operator.name}'"
        for name in operator.inputs:
            if name not in made:
                yield f"'{operator.name}' reads '{name}', which nothing before it makes"
        names.add(operator.name)
        made.update(operator.made)
    if not graph.outputs:
        yield "the graph has no output"
    for name, value in graph.outputs.items():
        if not name:
            yield f"the output '{value}' has no name"
        if value not in made:
            yield f"the output '{name}' is '{value}', which nothing makes"
    for name, tensor in graph.tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            yield f"the weight '{name}' is not finite"
