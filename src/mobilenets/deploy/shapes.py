"""Shape inference: the output shape of each kind of operator from its input shapes, without the batch axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mobilenets.deploy import operators as op
from mobilenets.deploy.operators import Operator
from mobilenets.errors import GraphError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Shape = tuple[int, ...]
Tensors = Mapping[str, "NDArray[np.generic]"]


def shapes_of(operator: Operator, inputs: Sequence[Shape], tensors: Tensors) -> tuple[Shape, ...]:
    """The shapes of all values that an operator produces; arguments and errors are those of `shape_of`."""
    first = shape_of(operator, inputs, tensors)
    return (first, *((first[0],) for _ in operator.made[1:]))  # one number per row: scores and classes of boxes


def shape_of(operator: Operator, inputs: Sequence[Shape], tensors: Tensors) -> Shape:
    """The shape of an operator's output; of `Nms`, that of its boxes.

    Args:
        operator: any operator.
        inputs: the shapes of its inputs.
        tensors: the graph's weights.

    Raises:
        GraphError: the operator does not fit its inputs or its weights.
    """
    rule, ranks = _RULES[type(operator)]
    if tuple(map(len, inputs)) not in ranks:
        raise _error(operator, f"reads shapes {', '.join(map(str, inputs)) or 'of nothing'}")
    return rule(operator, inputs, tensors)


def window_shape(size: tuple[int, int], kernel: Sequence[int], operator: op.Conv | op.Depthwise | op.Pool) -> tuple[int, int]:
    """Height and width of a convolution's or pooling's output for a feature map of this height and width."""
    dilation, padding = ((1, 1), (0, 0, 0, 0)) if isinstance(operator, op.Pool) else (operator.dilation, operator.padding)
    sides = []
    for i in range(2):
        room = size[i] + padding[2 * i] + padding[2 * i + 1] - dilation[i] * (kernel[i] - 1) - 1
        if room < 0:
            raise _error(operator, f"has a window larger than its map, {size[0]} x {size[1]}")
        sides.append(room // operator.stride[i] + 1)
    return sides[0], sides[1]


def _weight(operator: Any, tensors: Tensors, rank: int) -> Shape:  # Any: an operator with weights
    for name in (operator.weight, operator.bias):
        if name not in tensors:
            raise _error(operator, f"has no weight '{name}'")
    shape: Shape = tensors[operator.weight].shape
    if len(shape) != rank or 0 in shape or tensors[operator.bias].shape != shape[:1]:
        raise _error(operator, f"has a weight {shape} with a bias {tensors[operator.bias].shape}")
    return shape


def _conv(operator: op.Conv, inputs: Sequence[Shape], tensors: Tensors) -> Shape:
    [(channels, *size)] = inputs
    c_out, c_in, *kernel = _weight(operator, tensors, 4)
    if c_in != channels:
        raise _error(operator, f"has filters for {c_in} channels, but reads {channels}")
    return (c_out, *window_shape((size[0], size[1]), kernel, operator))


def _depthwise(operator: op.Depthwise, inputs: Sequence[Shape], tensors: Tensors) -> Shape:
    [(channels, *size)] = inputs
    c_out, multiplier, *kernel = _weight(operator, tensors, 4)
    if (c_out, multiplier) != (channels, 1):
        raise _error(operator, f"has {c_out} filters of {multiplier} channels, but reads {channels} channels")
    return (c_out, *window_shape((size[0], size[1]), kernel, operator))


def _dense(operator: op.Dense, inputs: Sequence[Shape], tensors: Tensors) -> Shape:
    [(channels,)] = inputs
    c_out, c_in = _weight(operator, tensors, 2)
    if c_in != channels:
        raise _error(operator, f"has a matrix for {c_in} numbers, but reads {channels}")
    return (c_out,)


def _add(operator: op.Add, inputs: Sequence[Shape], tensors: Tensors) -> Shape:
    first, second = inputs
    if first != second:
        raise _error(operator, f"adds {first} and {second}")
    return first


def _multiply(operator: op.Multiply, inputs: Sequence[Shape], tensors: Tensors) -> Shape:
    first, second = inputs
    if second not in (first, (first[0], 1, 1)):
        raise _error(operator, f"multiplies {first} by {second}")
    return first


def _pool(operator: op.Pool, inputs: Sequence[Shape], tensors: Tensors) -> Shape:
    [(channels, *size)] = inputs
    return (channels, *window_shape((size[0], size[1]), operator.kernel, operator))


def _same(operator: Operator, inputs: Sequence[Shape], tensors: Tensors) -> Shape:
    return inputs[0]


def _resize(operator: op.Resize, inputs: Sequence[Shape], tensors: Tensors) -> Shape:
    return (inputs[0][0], *operator.size)


def _concat(operator: op.Concat, inputs: Sequence[Shape], tensors: Tensors) -> Shape:
    maps = len(inputs[0]) == 3
    rest = {shape[1:] for shape in inputs}
    if len(rest) != 1:
        raise _error(operator, f"joins {', '.join(map(str, inputs))}, which differ in {'size' if maps else 'columns'}")
    return (sum(shape[0] for shape in inputs), *inputs[0][1:])


def _flatten(operator: op.Flatten, inputs: Sequence[Shape], tensors: Tensors) -> Shape:
    [(channels, *size)] = inputs
    if size != [1, 1]:
        raise _error(operator, f"flattens a map of {size[0]} x {size[1]} places")
    return (channels,)


def _rows(operator: op.Rows, inputs: Sequence[Shape], tensors: Tensors) -> Shape:
    [shape] = inputs
    if shape[0] % operator.columns:
        raise _error(operator, f"makes rows of {operator.columns} from {shape[0]} channels")
    return (math.prod(shape) // operator.columns, operator.columns)


def _places(operator: op.Places, inputs: Sequence[Shape], tensors: Tensors) -> Shape:
    [(rows, columns)] = inputs
    height, width = operator.size
    if rows % (height * width):
        raise _error(operator, f"makes a map of {height} x {width} from {rows} rows")
    return (rows // (height * width) * columns, height, width)


def _matmul(operator: op.MatMul, inputs: Sequence[Shape], tensors: Tensors) -> Shape:
    (rows, inner), second = inputs
    other, columns = second[::-1] if operator.transposed else second
    if inner != other:
        raise _error(operator, f"multiplies {inputs[0]} by {second}")
    return (rows, columns)


def _boxes(operator: op.Boxes, inputs: Sequence[Shape], tensors: Tensors) -> Shape:
    [shape] = inputs
    known = tensors[operator.anchors].shape if operator.anchors in tensors else ()
    if shape != known or shape[1] != 4:
        raise _error(operator, f"reads offsets {shape} for anchors {known}")
    return shape


def _nms(operator: op.Nms, inputs: Sequence[Shape], tensors: Tensors) -> Shape:
    (count, edges), (scores, columns) = inputs
    classes = columns - operator.first
    known = tensors[operator.thresholds].shape if operator.thresholds in tensors else ()
    if edges != 4 or count != scores or classes < 1 or known != (classes,):
        raise _error(operator, f"reads boxes {inputs[0]}, scores {inputs[1]} and thresholds {known}")
    return (min(operator.most, count * classes), 4)


def _argmax(operator: op.ArgMax, inputs: Sequence[Shape], tensors: Tensors) -> Shape:
    return inputs[0][1:]


def _error(operator: Operator, problem: str) -> GraphError:
    return GraphError(f"'{operator.name}' {problem}")


class _Several:
    """Accepts one or more inputs, all feature maps or all tables."""

    def __contains__(self, ranks: object) -> bool:
        return isinstance(ranks, tuple) and len(ranks) > 0 and set(ranks) in ({2}, {3})


Rule = Callable[[Any, Sequence[Shape], Tensors], Shape]  # Any: the operator of the rule's kind
# fmt: off
_RULES: dict[type[Operator], tuple[Rule, Any]] = {  # the rule, and the ranks of the inputs
    op.Conv:       (_conv,      {(3,)}),
    op.Depthwise:  (_depthwise, {(3,)}),
    op.Dense:      (_dense,     {(1,)}),
    op.Add:        (_add,       {(3, 3)}),
    op.Multiply:   (_multiply,  {(3, 3)}),
    op.Pool:       (_pool,      {(3,)}),
    op.Activation: (_same,      {(1,), (2,), (3,)}),
    op.Resize:     (_resize,    {(3,)}),
    op.Concat:     (_concat,    _Several()),
    op.Flatten:    (_flatten,   {(3,)}),
    op.Rows:       (_rows,      {(3,)}),
    op.Places:     (_places,    {(2,)}),
    op.MatMul:     (_matmul,    {(2, 2)}),
    op.Softmax:    (_same,      {(1,), (2,)}),
    op.ArgMax:     (_argmax,    {(3,)}),
    op.Boxes:      (_boxes,     {(2,)}),
    op.Nms:        (_nms,       {(2, 2)}),
    op.Quantize:   (_same,      {(1,), (2,), (3,)}),
    op.Dequantize: (_same,      {(1,), (2,), (3,)}),
}
# fmt: on
