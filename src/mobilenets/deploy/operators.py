"""The operators of a lowered graph: fifteen kinds, enough for every backbone, head and tail of the package, and two for int8.

A map is a value C H W, a table of rows P C: P rows of C numbers. Every value also has the batch N as its first axis, which no
operator mixes. Weights are named, and stand in the graph's `tensors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, runtime_checkable

from msgspec import Meta

from mobilenets.documents import Choice, Choices

NonLinear = Literal["relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid", "gelu"]
ActivationKind = Literal["linear", NonLinear]
"""What is applied to each number: hard swish is x relu6(x + 3) / 6, hard sigmoid relu6(x + 3) / 6 (V3, section 5.2)."""

Coordinates = Literal["half_pixel", "align_corners"]
"""Where a resized map's places lie on the other: pixel centers, or corner on corner."""

Count = Annotated[int, Meta(ge=1, le=1 << 24)]
Margin = Annotated[int, Meta(ge=0, le=1 << 16)]
Pair = tuple[Count, Count]
Margins = tuple[Margin, Margin, Margin, Margin]


@runtime_checkable
class Operator(Protocol):
    """One step of a network; `KINDS` lists its kinds."""

    @property
    def name(self) -> str:
        """The module it comes from, the beginning of its weights' names; unique in the graph."""
        ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the values it reads."""
        ...

    @property
    def output(self) -> str:
        """Name of the value it makes."""
        ...

    @property
    def block(self) -> int:
        """The block of the backbone that it is part of, by index; -1 for the tail and the head."""
        ...

    @property
    def made(self) -> tuple[str, ...]:
        """Names of all values it makes: the output, or several that begin with its name."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    name: str
    inputs: tuple[str, ...]
    output: str
    block: Annotated[int, Meta(ge=-1, le=1 << 24)] = -1

    @property
    def made(self) -> tuple[str, ...]:
        """Names of all values it makes."""
        return (self.output,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv(_Named):
    """A convolution of a map, C H W, by filters O C k k, with bias and activation.

    Args:
        weight: name of the filters, O C kh kw.
        bias: name of the bias, O.
        stride, dilation: down and across.
        padding: zeros at the top, bottom, left and right.
        activation: of the sum.
    """

    weight: str
    bias: str
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Margins = (0, 0, 0, 0)
    activation: ActivationKind = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Depthwise(_Named):
    """A convolution with one filter per channel; the fields of `Conv`, filters C 1 kh kw."""

    weight: str
    bias: str
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Margins = (0, 0, 0, 0)
    activation: ActivationKind = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense(_Named):
    """A linear layer on one row, C to O.

    Args:
        weight: name of the matrix, O C.
        bias: name of the bias, O.
        activation: of the sum.
    """

    weight: str
    bias: str
    activation: ActivationKind = "linear"


Weighted = Conv | Depthwise | Dense
"""The operators with weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(_Named):
    """The sum of two values of one shape, with an activation."""

    activation: ActivationKind = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiply(_Named):
    """The product of a map C H W and a map of its shape, or of one place, C 1 1, which counts for every place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool(_Named):
    """The mean over a window of a map; nothing is padded.

    Args:
        kernel: height and width of the window; the map's own for one place.
        stride: down and across.
    """

    kernel: Pair
    stride: Pair = (1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation(_Named):
    """An activation that could not be fused into the operator before it."""

    kind: NonLinear


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize(_Named):
    """A map at another height and width, bilinearly.

    Args:
        size: the new height and width.
        coordinates: where the places lie.
    """

    size: Pair
    coordinates: Coordinates = "half_pixel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat(_Named):
    """Maps joined along their channels, or tables of rows one below the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatten(_Named):
    """A map of one place, C 1 1, as a row C."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows(_Named):
    """A map C H W as rows of `columns` numbers: place after place, and at each place its channels in groups of `columns`."""

    columns: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Places(_Named):
    """What `Rows` does, undone: rows as a map of this height and width."""

    size: Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class MatMul(_Named):
    """The product of two tables, P K by K Q.

    Args:
        transposed: whether the second is Q K.
        factor: that the product is multiplied by.
    """

    transposed: bool = False
    factor: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax(_Named):
    """Softmax over the numbers of each row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgMax(_Named):
    """The channel with the largest value at each place of a map, H W in unsigned 8 bits; of equal ones the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes(_Named):
    """Boxes x0 y0 x1 y1 in px, A 4, from offsets at anchors, A 4 (SSD, eq. 2), clipped to the input.

    Args:
        anchors: name of the anchors, x0 y0 x1 y1 in px, A 4.
        variances: what each offset is multiplied by.
        size: height and width of the input.
    """

    anchors: str
    variances: tuple[float, float, float, float]
    size: Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Nms(_Named):
    """Non-maximum suppression of boxes, A 4, by scores, A columns, class by class; then the best of all classes.

    It makes three values: `boxes`, K 4; `scores`, K, by falling score; `classes`, K. What is left over has the score 0 and the
    class -1.

    Args:
        thresholds: name of the scores that boxes of each class must exceed.
        first: the column of the first class; columns before it are no classes.
        iou: a box is suppressed if its overlap with a better one exceeds this.
        candidates: boxes of each class that take part, the best.
        most: boxes that are kept.
    """

    thresholds: str
    first: Annotated[int, Meta(ge=0, le=1)]
    iou: Annotated[float, Meta(ge=0, le=1)]
    candidates: Count
    most: Count

    @property
    def made(self) -> tuple[str, ...]:
        """Names of all values it makes."""
        return tuple(f"{self.output}.{part}" for part in ("boxes", "scores", "classes"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantize(_Named):
    """Floats as 8-bit integers, or 8-bit integers at another scale; the graph has the quantization of its output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dequantize(_Named):
    """8-bit integers as the floats that they stand for."""


KINDS: dict[str, type[Operator]] = {
    "conv": Conv,
    "depthwise": Depthwise,
    "dense": Dense,
    "add": Add,
    "multiply": Multiply,
    "pool": Pool,
    "activation": Activation,
    "resize": Resize,
    "concat": Concat,
    "flatten": Flatten,
    "rows": Rows,
    "places": Places,
    "matmul": MatMul,
    "softmax": Softmax,
    "argmax": ArgMax,
    "boxes": Boxes,
    "nms": Nms,
    "quantize": Quantize,
    "dequantize": Dequantize,
}
"""Every kind of operator, by the name that files know it by."""

CHOICES: Choices = {Operator: Choice("operator", KINDS)}
"""What may stand in the place of an operator."""
