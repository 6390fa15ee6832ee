"""Row types: one line of a paper's architecture table, all channel counts absolute.

A network is a tuple of rows. A row never names its input channels: they are the output channels of the row above.
Rows know nothing of torch; `mobilenets.net` turns them into modules.
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

# What a real network has, with room above. The ranges keep a damaged file from asking for all memory.
Channels = Annotated[int, Meta(ge=1, le=2**17)]
Kernel = Annotated[int, Meta(ge=1, le=255)]
KernelOrNone = Annotated[int, Meta(ge=0, le=255)]  # 0: there is no such layer
Stride = Annotated[int, Meta(ge=1, le=64)]
Side = Annotated[int, Meta(ge=1, le=2**15)]  # of an input, px
Epsilon = Annotated[float, Meta(ge=0, le=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Chance = Annotated[float, Meta(ge=0, lt=1)]


@runtime_checkable
class Row(Protocol):
    """A line of an architecture table: one of the frozen records below, which `ROWS` lists."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # Any: as `dataclasses.replace` asks for

    @property
    def c_out(self) -> int:
        """Channels that leave the row."""
        ...

    @property
    def stride(self) -> int:
        """Input px per output px."""
        ...


@dataclass(frozen=True, slots=True)
class Conv:
    """A full convolution, batch norm, activation. Without a norm it has a bias."""

    c_out: Channels
    kernel: Kernel = 1
    stride: Stride = 1
    activation: Activation = "relu6"
    norm: bool = True


@dataclass(frozen=True, slots=True)
class Separable:
    """A depthwise separable convolution: k x k depthwise, then 1 x 1 pointwise, each with norm and activation (V1, Fig. 3)."""

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
        project_activation: after the projection; "linear" but for the V2 paper's ablation (Fig. 6a).
        shortcut: what the residual connects (V2, Fig. 6b). It exists where stride is 1 and the shapes agree.
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
    """A universal inverted bottleneck (V4, Fig. 4): optional depthwise before the expansion and between it and the projection.

    Args:
        start_kernel: depthwise before the expansion, no activation; 0 for none.
        middle_kernel: depthwise between expansion and projection; 0 for none. It takes the stride when both exist.
        layer_scale: a learned factor per channel on the residual branch (hybrid models), at first 1e-5.
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
    """Mobile multi-query attention with a residual (V4, section 5). Keeps channels and size.

    Args:
        heads: query heads; keys and values are shared by all of them.
        key_dim: channels of a key, and of a value.
        kv_stride: spatial reduction of keys and values, by a 3 x 3 depthwise convolution; 1 for none.
        layer_scale: a learned factor per channel on the residual branch, at first 1e-5.
    """

    c_out: Channels
    heads: Annotated[int, Meta(ge=1, le=1024)]
    key_dim: Channels
    kv_stride: Stride = 1
    layer_scale: bool = True

    @property
    def stride(self) -> int:
        """1: attention keeps the size."""
        return 1


@dataclass(frozen=True, slots=True)
class ResNetBottleneck:
    """The classical residual bottleneck, for the comparison with the inverted one (V2, Fig. 3a).

    1 x 1 reduction to `c_reduce`, k x k full convolution, 1 x 1 expansion to `c_out`; shortcut projected where shapes differ.
    """

    c_reduce: Channels
    c_out: Channels
    kernel: Kernel = 3
    stride: Stride = 1
    activation: Activation = "relu"


ROWS: dict[str, type[Row]] = {
    kind.__name__: kind for kind in (Conv, Separable, Bottleneck, Fused, Universal, Attention, ResNetBottleneck)
}
"""Every kind of row, by the name that files know it by."""


@dataclass(frozen=True, slots=True)
class BackboneSpec:
    """A network up to its classifier, as data.

    Args:
        name: as users type it, "mobilenet_v2".
        rows: from the stem to the last layer before pooling.
        tail: 1 x 1 layers between pooling and the classifier (V3's efficient last stage, Fig. 5; V4).
        width: the multiplier the rows were made with, for display; the rows already hold the result.
        size: the paper's input size, px.
        in_channels: channels of the input image.
        padding: "tf" pads as TensorFlow's SAME (asymmetric under stride), "symmetric" k // 2 on both sides,
            "end" as "tf", but depthwise only after the map under stride (the V1 of Keras).
        norm_eps, norm_momentum: batch norm; momentum in PyTorch's sense (share of the new value).
        dropout: before the classifier.
        stochastic_depth: chance to drop the last residual branch in training; grows linearly with depth.
        output_stride: input px per px of the last map; strides beyond it become dilation, see `with_output_stride`.
        dilate_strided_row: whether the row that loses its stride is dilated too (torchvision) or only those below (TensorFlow).
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
        """Channels of the last map."""
        return self.rows[-1].c_out

    @property
    def c_features(self) -> int:
        """Channels that the classifier sees, after the tail."""
        return self.tail[-1].c_out if self.tail else self.c_out


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands in its network.

    Args:
        row: the table's row.
        c_in: channels that enter it.
        stride: the stride it runs with, 1 where the output stride took it away.
        dilation: of its spatial convolutions.
        table_stride: input px per output px as the paper's table has it, which names its map.
    """

    row: Row
    c_in: int
    stride: int
    dilation: int
    table_stride: int


def places(backbone: BackboneSpec) -> Iterator[Place]:
    """Each row with its input channels and the stride and dilation it runs with at the backbone's output stride."""
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
    """Feature-map names, each with the index of its row and the channels of the map.

    `"s16"` is the output of the last row at stride 16; `"s32.expand"` the expansion inside the first row of stride 32,
    before it strides; `"s32.first"` the output of that row. The names follow the table: with output stride 16 the map `"s32"`
    keeps its name, at 1/16 of the input.
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
    """Name of the last map."""
    *_, last = places(backbone)
    return f"s{last.table_stride}"


def with_output_stride(backbone: BackboneSpec, output_stride: int) -> BackboneSpec:
    """The same network with its strides beyond `output_stride` turned into dilation (V2, section 6.3).

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
