"""The operators of a lowered graph: enough kinds for every backbone, head and tail of the package, and two for int8.

A feature map is a value C H W; a table is a value P C with P rows of C numbers. Every value also has the batch N as its first
axis, and no operator mixes images. Operators refer to weights by name; the graph's `tensors` holds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, runtime_checkable

from msgspec import Meta

from mobilenets.documents import Choice, Choices

NonLinear = Literal["relu", "relu6", "hard_swish", "hard_sigmoid", "sigmoid", "gelu"]
ActivationKind = Literal["linear", NonLinear]
"""An elementwise activation: hard swish is x relu6(x + 3) / 6, hard sigmoid relu6(x + 3) / 6 (V3, section 5.2)."""

Coordinates = Literal["half_pixel", "align_corners"]
"""How pixels of a resized map correspond to the original: by the pixels' centers, or with the corner pixels aligned."""

Count = Annotated[int, Meta(ge=1, le=1 << 24)]
Margin = Annotated[int, Meta(ge=0, le=1 << 16)]
Pair = tuple[Count, Count]
Margins = tuple[Margin, Margin, Margin, Margin]


@runtime_checkable
class Operator(Protocol):
    """One step of a network; `KINDS` lists its kinds."""

    @property
    def name(self) -> str:
        """The module it comes from, which is also the prefix of its weights' names; unique in the graph."""
        ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the values it reads."""
        ...

    @property
    def output(self) -> str:
        """Name of the value it produces."""
        ...

    @property
    def block(self) -> int:
        """Index of the backbone's block that it is part of; -1 for the tail and the head."""
        ...

    @property
    def made(self) -> tuple[str, ...]:
        """Names of all values it produces: the output, or several whose names begin with the output's."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    name: str
    inputs: tuple[str, ...]
    output: str
    block: Annotated[int, Meta(ge=-1, le=1 << 24)] = -1

    @property
    def made(self) -> tuple[str, ...]:
        """Names of all values it produces."""
        return (self.output,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv(_Named):
    """A convolution of a feature map, C H W, with filters O C kh kw, bias and activation.

    Args:
        weight: name of the filters, O C kh kw.
        bias: name of the bias, O.
        stride, dilation: vertical and horizontal.
        padding: zeros added at the top, bottom, left and right.
        activation: applied to the sum.
    """

    weight: str
    bias: str
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Margins = (0, 0, 0, 0)
    activation: ActivationKind = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Depthwise(_Named):
    """A depthwise convolution, with one filter per channel; its fields are those of `Conv`, its filters C 1 kh kw."""

    weight: str
    bias: str
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Margins = (0, 0, 0, 0)
    activation: ActivationKind = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense(_Named):
    """A linear layer that maps a vector of C numbers to O.

    Args:
        weight: name of the matrix, O C.
        bias: name of the bias, O.
        activation: applied to the sum.
    """

    weight: str
    bias: str
    activation: ActivationKind = "linear"


Weighted = Conv | Depthwise | Dense
"""The operators with weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(_Named):
    """The sum of two values of the same shape, with an activation."""

    activation: ActivationKind = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiply(_Named):
    """The elementwise product of a feature map C H W and another of the same shape or of shape C 1 1, which is broadcast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool(_Named):
    """Average pooling without padding.

    Args:
        kernel: height and width of the window; those of the feature map for global pooling.
        stride: vertical and horizontal.
    """

    kernel: Pair
    stride: Pair = (1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation(_Named):
    """An activation that could not be fused into the operator before it."""

    kind: NonLinear


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize(_Named):
    """Bilinear resizing of a feature map.

    Args:
        size: the new height and width.
        coordinates: how new pixels correspond to old ones.
    """

    size: Pair
    coordinates: Coordinates = "half_pixel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat(_Named):
    """Concatenation: feature maps along their channels, or tables along their rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatten(_Named):
    """A 1 x 1 feature map, C 1 1, as a vector of C numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows(_Named):
    """A feature map C H W as a table: pixel by pixel, and at each pixel its channels in rows of `columns` numbers."""

    columns: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Places(_Named):
    """The inverse of `Rows`: a table as a feature map of this height and width."""

    size: Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class MatMul(_Named):
    """The matrix product of two tables, P K by K Q.

    Args:
        transposed: whether the second table is stored as Q K.
        factor: multiplies the product.
    """

    transposed: bool = False
    factor: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax(_Named):
    """Softmax over each row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgMax(_Named):
    """The index of the largest channel at each pixel of a feature map, H W in unsigned 8 bits; of equal ones the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes(_Named):
    """Boxes x0 y0 x1 y1 in px, A 4, decoded from offsets relative to anchors, A 4 (SSD, eq. 2), and clipped to the input.

    Args:
        anchors: name of the anchors, x0 y0 x1 y1 in px, A 4.
        variances: factors of the four offsets.
        size: height and width of the input.
    """

    anchors: str
    variances: tuple[float, float, float, float]
    size: Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Nms(_Named):
    """Non-maximum suppression of boxes, A 4, with scores, A columns, for each class; then the best of all classes.

    It produces three values: `boxes`, K 4; `scores`, K, in descending order; `classes`, K. Unused places have score 0 and
    class -1.

    Args:
        thresholds: name of the thresholds, one per class, that scores must exceed.
        first: the column of the first class; earlier columns, such as the background's, are not classes.
        iou: a box is suppressed if its IoU with a better one exceeds this.
        candidates: how many of the best boxes of each class enter suppression.
        most: how many boxes are kept at most.
    """

    thresholds: str
    first: Annotated[int, Meta(ge=0, le=1)]
    iou: Annotated[float, Meta(ge=0, le=1)]
    candidates: Count
    most: Count

    @property
    def made(self) -> tuple[str, ...]:
        """Names of all values it produces."""
        return tuple(f"{self.output}.{part}" for part in ("boxes", "scores", "classes"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantize(_Named):
    """Conversion of floats, or of 8-bit integers of another scale, to 8-bit integers with the quantization of the output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dequantize(_Named):
    """Conversion of 8-bit integers to the floats that they represent."""


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
"""Every kind of operator, by its name in files."""

CHOICES: Choices = {Operator: Choice("operator", KINDS)}
"""The kinds that a document may have for an operator."""
