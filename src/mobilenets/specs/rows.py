"""Row types: each is one line of a paper's architecture table, with absolute channel counts.

A network is a tuple of rows. A row does not state its input channels: they are the output channels of the row above.
Rows do not depend on torch; `mobilenets.net` builds modules from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeGuard, runtime_checkable

from msgspec import Meta

from mobilenets.documents import check_ranges
from mobilenets.errors import SpecError

Activation = Literal["relu", "relu6", "hard_swish", "gelu", "linear"]
Padding = Literal["tf", "symmetric", "end"]
Shortcut = Literal["bottleneck", "expansion", "none"]

# Ranges well above those of real networks. They keep a damaged file from exhausting the memory.
Channels = Annotated[int, Meta(ge=1, le=2**17)]
Kernel = Annotated[int, Meta(ge=1, le=255)]
KernelOrNone = Annotated[int, Meta(ge=0, le=255)]  # 0: there is no such layer
Stride = Annotated[int, Meta(ge=1, le=64)]
Side = Annotated[int, Meta(ge=1, le=2**15)]  # side of an input, px
Epsilon = Annotated[float, Meta(ge=0, le=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Chance = Annotated[float, Meta(ge=0, lt=1)]


@runtime_checkable
class Row(Protocol):
    """A line of an architecture table: one of the frozen records below, which `ROWS` lists."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # Any: as `dataclasses.replace` asks for

    @property
    def c_out(self) -> int:
        """Output channels of the row."""
        ...

    @property
    def stride(self) -> int:
        """Input px per output px."""
        ...


@dataclass(frozen=True, slots=True)
class Conv:
    """A full convolution, batch norm and activation. Without batch norm, the convolution has a bias."""

    c_out: Channels
    kernel: Kernel = 1
    stride: Stride = 1
    activation: Activation = "relu6"
    norm: bool = True


@dataclass(frozen=True, slots=True)
class Separable:
    """A depthwise separable convolution: k x k depthwise, 1 x 1 pointwise, each with batch norm and activation (V1, Fig. 3)."""

    c_out: Channels
    kernel: Kernel = 3
    stride: Stride = 1
    activation: Activation = "relu"


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """An inverted residual with linear bottleneck (V2, Table 1), with squeeze-excite if `c_squeeze` (V3, Fig. 4).

    Expansion 1 x 1, depthwise k x k, projection 1 x 1. There is no expansion layer when `c_expand` equals the input channels.

    Args:
        c_expand: channels of the expansion.
        c_squeeze: inner channels of squeeze-excite; 0 for none.
        project_activation: activation after the projection; "linear" except in the V2 paper's ablation (Fig. 6a).
        shortcut: what the shortcut connects (V2, Fig. 6b). It exists only if the stride is 1 and the shapes agree.
    """

    c_expand: Channels
    c_out: Channels
    kernel: Kernel = 3
    stride: Stride = 1
    activation: Activation = "relu6"
    c_squeeze: Annotated[int, Meta(ge=0, le=2**17)] = 0
    project_activation: Activation = "linear"
    shortcut: Shortcut = "bottleneck"


@dataclass(frozen=True, slots=True)
class Fused:
    """A fused inverted bottleneck: k x k full convolution to `c_expand`, then 1 x 1 linear projection (V4, Fig. 4)."""

    c_expand: Channels
    c_out: Channels
    kernel: Kernel = 3
    stride: Stride = 1
    activation: Activation = "relu"


@dataclass(frozen=True, slots=True)
class Universal:
    """A universal inverted bottleneck (V4, Fig. 4), with optional depthwise layers before and after the expansion.

    Args:
        start_kernel: kernel of the depthwise layer before the expansion, which has no activation; 0 for no such layer.
        middle_kernel: kernel of the depthwise layer between expansion and projection; 0 for no such layer. If both exist, this
            one has the stride.
        layer_scale: whether the residual branch has a learned factor per channel (hybrid models), initially 1e-5.
    """

    c_expand: Channels
    c_out: Channels
    start_kernel: KernelOrNone = 0
    middle_kernel: KernelOrNone = 0
    stride: Stride = 1
    activation: Activation = "relu"
    layer_scale: bool = False


@dataclass(frozen=True, slots=True)
class Attention:
    """Mobile multi-query attention with a shortcut (V4, section 5). Channels and size stay the same.

    Args:
        heads: number of query heads; all of them share keys and values.
        key_dim: channels of a key, and of a value.
        kv_stride: spatial reduction of keys and values by a 3 x 3 depthwise convolution; 1 for none.
        layer_scale: whether the residual branch has a learned factor per channel, initially 1e-5.
    """

    c_out: Channels
    heads: Annotated[int, Meta(ge=1, le=1024)]
    key_dim: Channels
    kv_stride: Stride = 1
    layer_scale: bool = True

    @property
    def stride(self) -> int:
        """Always 1, since attention keeps the size."""
        return 1


@dataclass(frozen=True, slots=True)
class ResNetBottleneck:
    """The classical residual bottleneck, for comparison with the inverted one (V2, Fig. 3a).

    1 x 1 reduction to `c_reduce`, k x k full convolution, 1 x 1 expansion to `c_out`; shortcut projected if shapes differ.
    """

    c_reduce: Channels
    c_out: Channels
    kernel: Kernel = 3
    stride: Stride = 1
    activation: Activation = "relu"


ROWS: dict[str, type[Row]] = {
    kind.__name__: kind for kind in (Conv, Separable, Bottleneck, Fused, Universal, Attention, ResNetBottleneck)
}
"""Every kind of row, by its name in files."""


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """A network up to its classifier, as data.

    Args:
        name: what users type, such as "mobilenet_v2".
        rows: the rows, from the stem to the last layer before pooling.
        tail: 1 x 1 layers between pooling and the classifier (V3's efficient last stage, Fig. 5; V4).
        width: the width multiplier, for display; the rows already include it.
        size: the paper's input size, px.
        in_channels: channels of the input image.
        padding: "tf" pads like TensorFlow's SAME (asymmetrically if strided); "symmetric" pads k // 2 on both sides; "end" is
            like "tf", but strided depthwise convolutions are padded only at the end (Keras's V1).
        norm_eps, norm_momentum: batch norm settings, with momentum in PyTorch's sense (weight of the new value).
        dropout: dropout rate before the classifier.
        stochastic_depth: probability of dropping the last residual branch in training; it grows linearly with depth.
        output_stride: input px per px of the last feature map; further strides become dilation, see `with_output_stride`.
        dilate_strided_row: whether a row that loses its stride is dilated too (torchvision), or only later ones (TensorFlow).
    """

    name: str
    rows: Annotated[tuple[Row, ...], Meta(min_length=1, max_length=2000)]
    tail: Annotated[tuple[Conv, ...], Meta(max_length=100)] = ()
    width: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    size: Side = 224
    in_channels: Annotated[int, Meta(ge=1, le=4096)] = 3
    padding: Padding = "tf"
    norm_eps: Epsilon = 1e-3
    norm_momentum: Share = 0.01
    dropout: Chance = 0.2
    stochastic_depth: Chance = 0.0
    output_stride: Annotated[int, Meta(ge=1, le=1024)] = 32
    dilate_strided_row: bool = False

    def __post_init__(self) -> None:
        check_ranges(self, SpecError)

    @property
    def c_out(self) -> int:
        """Channels of the last feature map."""
        return self.rows[-1].c_out

    @property
    def c_features(self) -> int:
        """Channels of the classifier's input, after the tail."""
        return self.tail[-1].c_out if self.tail else self.c_out


@dataclass(frozen=True, slots=True)
class Place:
    """A row in its network.

    Args:
        row: the row of the table.
        c_in: its input channels.
        stride: its actual stride, which is 1 if the output stride replaced it by dilation.
        dilation: dilation of its spatial convolutions.
        table_stride: input px per output px according to the paper's table, which gives the feature map its name.
    """

    row: Row
    c_in: int
    stride: int
    dilation: int
    table_stride: int


def places(backbone: BackboneSpec) -> Iterator[Place]:
    """Each row with its input channels, and its stride and dilation at the backbone's output stride."""
    c_in = backbone.in_channels
    table_stride = running_stride = dilation = 1
    for row in backbone.rows:
        table_stride *= row.stride
        if running_stride * row.stride <= backbone.output_stride:
            running_stride *= row.stride
            yield Place(row, c_in, row.stride, dilation, table_stride)
        else:
            later = dilation * row.stride
            own = later if backbone.dilate_strided_row else dilation
            yield Place(row, c_in, 1, own, table_stride)
            dilation = later
        c_in = row.c_out


def feature_maps(backbone: BackboneSpec) -> dict[str, tuple[int, int]]:
    """Names of the feature maps, each with the index of its row and the channels of the map.

    `"s16"` is the output of the last row at stride 16. `"s32.expand"` is the expansion inside the first row at stride 32,
    before its stride, and `"s32.first"` is the output of that row. The names follow the table: at output stride 16, the map
    `"s32"` keeps its name although it has 1/16 of the input's size.
    """
    names: dict[str, tuple[int, int]] = {}
    above = 1
    for i, place in enumerate(places(backbone)):
        stride = place.table_stride
        if stride > above and _expands_before_stride(place.row):
            names[f"s{stride}.expand"] = (i, place.row.c_expand)
        if stride > above:
            names[f"s{stride}.first"] = (i, place.row.c_out)
        names[f"s{stride}"] = (i, place.row.c_out)
        above = stride
    return names


def deepest_map(backbone: BackboneSpec) -> str:
    """Name of the last feature map."""
    *_, last = places(backbone)
    return f"s{last.table_stride}"


def with_output_stride(backbone: BackboneSpec, output_stride: int) -> BackboneSpec:
    """The same network with strides beyond `output_stride` replaced by dilation (V2, section 6.3).

    Raises:
        SpecError: unless `output_stride` is 8, 16 or 32.
    """
    if output_stride not in (8, 16, 32):
        raise SpecError(f"output stride {output_stride} is not one of 8, 16, 32")
    return replace(backbone, output_stride=output_stride)


def make_divisible(channels: float, divisor: int = 8, minimum: int | None = None) -> int:
    """The multiple of `divisor` nearest to `channels`, but never more than 10% below it (slim's rule for V2 and V3).

    >>> make_divisible(32 * 0.35), make_divisible(24 * 0.75), make_divisible(16 * 0.5)
    (16, 24, 8)
    """
    floor = divisor if minimum is None else minimum
    rounded = max(floor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def _expands_before_stride(row: Row) -> TypeGuard[Bottleneck | Universal]:
    return isinstance(row, Bottleneck) or (isinstance(row, Universal) and row.middle_kernel > 0)
