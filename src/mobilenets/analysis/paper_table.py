"""A network's table as its paper prints it, with the columns of V1, V2, V3 or V4, depending on the rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mobilenets.specs.rows import (
    Activation,
    Attention,
    BackboneSpec,
    Bottleneck,
    Conv,
    Fused,
    Place,
    ResNetBottleneck,
    Separable,
    Universal,
    places,
)

Cell = str | int | float
# fmt: off
NONLINEARITIES: dict[Activation, str] = {  # V3, Table 1
    "relu": "RE", "relu6": "R6", "hard_swish": "HS", "gelu": "GE", "linear": "-",
}
# fmt: on


@dataclass(frozen=True, slots=True)
class PaperTable:
    """The column headings and lines of a table."""

    columns: tuple[str, ...]
    lines: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class _Line:
    """A row, its position, the size of its input map, and how often it is repeated."""

    place: Place
    height: int
    width: int
    times: int = 1

    @property
    def input(self) -> str:
        return _shape(self.height, self.width, self.place.c_in)

    @property
    def dilation(self) -> int:
        """The row's dilation, or 1 if the row has nothing to dilate."""
        pointwise = isinstance(self.place.row, Conv) and self.place.row.kernel == 1
        return 1 if pointwise or isinstance(self.place.row, Attention) else self.place.dilation


def paper_table(spec: BackboneSpec, classes: int, height: int, width: int) -> PaperTable:
    """The table of a network with a classifier at the given input size.

    Args:
        spec: the network.
        classes: number of classifier outputs.
        height: height of the input, px.
        width: width of the input, px.
    """
    kinds = {type(row) for row in spec.rows}
    if kinds & {Universal, Attention}:
        columns, lines = _v4(spec, classes, height, width)
    elif Fused in kinds or (Bottleneck in kinds and spec.tail):
        columns, lines = _v3(spec, classes, height, width)
    elif kinds & {Bottleneck, ResNetBottleneck}:
        columns, lines = _v2(spec, classes, height, width)
    else:
        columns, lines = _v1(spec, classes, height, width)
    return PaperTable(columns, tuple(lines))


def _v1(spec: BackboneSpec, classes: int, height: int, width: int) -> tuple[tuple[str, ...], list[tuple[Cell, ...]]]:
    lines: list[tuple[Cell, ...]] = []
    for line in _grouped(spec, height, width):
        place, row = line.place, line.place.row
        times = f"{line.times}x " if line.times > 1 else ""
        if isinstance(row, Separable):
            inner = _shape(_smaller(line.height, place.stride), _smaller(line.width, place.stride), place.c_in)
            kernel = f"{row.kernel}x{row.kernel}x{place.c_in} dw"
            lines.append((f"{times}Conv dw / s{place.stride}", kernel, line.input, line.dilation))
            lines.append((f"{times}Conv / s1", f"1x1x{place.c_in}x{row.c_out}", inner, 1))
        elif isinstance(row, Conv):
            kernel = f"{row.kernel}x{row.kernel}x{place.c_in}x{row.c_out}"
            lines.append((f"{times}Conv / s{place.stride}", kernel, line.input, line.dilation))
    h, w = _last_size(spec, height, width)
    lines.append(("Avg Pool / s1", f"Pool {h}x{w}", _shape(h, w, spec.c_out), 1))
    lines.append(("FC / s1", f"{spec.c_features}x{classes}", _shape(1, 1, spec.c_features), 1))
    lines.append(("Softmax / s1", "Classifier", _shape(1, 1, classes), 1))
    return _without_dilation(("Type / Stride", "Filter Shape", "Input Size", "dilation"), lines)


def _v2(spec: BackboneSpec, classes: int, height: int, width: int) -> tuple[tuple[str, ...], list[tuple[Cell, ...]]]:
    lines: list[tuple[Cell, ...]] = []
    for line in _grouped(spec, height, width):
        place, row = line.place, line.place.row
        factor: Cell = "-"
        operator = "conv2d" if isinstance(row, Conv) and row.kernel > 1 else "conv2d 1x1"
        if isinstance(row, Bottleneck):
            operator, factor = "bottleneck", _ratio(row.c_expand / place.c_in)
        elif isinstance(row, ResNetBottleneck):
            operator, factor = "resnet bottleneck", _ratio(row.c_out / row.c_reduce)
        lines.append((line.input, operator, factor, row.c_out, line.times, place.stride, line.dilation))
    h, w = _last_size(spec, height, width)
    lines.append((_shape(h, w, spec.c_out), f"avgpool {h}x{w}", "-", "-", 1, "-", 1))
    lines.append((_shape(1, 1, spec.c_features), "conv2d 1x1", "-", classes, "-", "-", 1))
    return _without_dilation(("Input", "Operator", "t", "c", "n", "s", "dilation"), lines)


def _v3(spec: BackboneSpec, classes: int, height: int, width: int) -> tuple[tuple[str, ...], list[tuple[Cell, ...]]]:
    lines: list[tuple[Cell, ...]] = []
    for line in _each(spec, height, width):
        place, row = line.place, line.place.row
        operator, expand, squeeze, activation = "", "-", "-", NONLINEARITIES["linear"]
        if isinstance(row, Conv):
            operator, activation = f"conv2d, {row.kernel}x{row.kernel}", NONLINEARITIES[row.activation]
        elif isinstance(row, Fused | Bottleneck):
            name = "bneck" if isinstance(row, Bottleneck) else "fused"
            operator, expand = f"{name}, {row.kernel}x{row.kernel}", str(row.c_expand)
            squeeze = "yes" if isinstance(row, Bottleneck) and row.c_squeeze else "-"
            activation = NONLINEARITIES[row.activation]
        lines.append((line.input, operator, expand, row.c_out, squeeze, activation, place.stride, line.dilation))
    h, w = _last_size(spec, height, width)
    lines.append((_shape(h, w, spec.c_out), f"pool, {h}x{w}", "-", "-", "-", "-", 1, 1))
    c_in = spec.c_out
    for row in spec.tail:
        norm = "" if row.norm else ", NBN"
        lines.append((_shape(1, 1, c_in), f"conv2d 1x1{norm}", "-", row.c_out, "-", NONLINEARITIES[row.activation], 1, 1))
        c_in = row.c_out
    lines.append((_shape(1, 1, c_in), "conv2d 1x1, NBN", "-", classes, "-", "-", 1, 1))
    return _without_dilation(("Input", "Operator", "exp size", "#out", "SE", "NL", "s", "dilation"), lines)


def _v4(spec: BackboneSpec, classes: int, height: int, width: int) -> tuple[tuple[str, ...], list[tuple[Cell, ...]]]:
    lines: list[tuple[Cell, ...]] = []
    for line in _each(spec, height, width):
        place, row = line.place, line.place.row
        block, k1, k2, expand = "", 0, 0, 0
        if isinstance(row, Conv):
            block = f"Conv2D, {row.kernel}x{row.kernel}"
        elif isinstance(row, Fused):
            block, expand = f"FusedIB, {row.kernel}x{row.kernel}", row.c_expand
        elif isinstance(row, Attention):
            block = f"Mobile-MQA, {row.heads}x{row.key_dim}" + (f", kv /{row.kv_stride}" if row.kv_stride > 1 else "")
        elif isinstance(row, Universal):
            block, k1, k2, expand = _universal(row), row.start_kernel, row.middle_kernel, row.c_expand
        lines.append((line.input, block, _kernel(k1), _kernel(k2), expand or "-", row.c_out, place.stride, line.dilation))
    h, w = _last_size(spec, height, width)
    lines.append((_shape(h, w, spec.c_out), "AvgPool", "-", "-", "-", spec.c_out, 1, 1))
    c_in = spec.c_out
    for row in spec.tail:
        lines.append((_shape(1, 1, c_in), "Conv2D, 1x1", "-", "-", "-", row.c_out, 1, 1))
        c_in = row.c_out
    lines.append((_shape(1, 1, c_in), "Conv2D, 1x1", "-", "-", "-", classes, 1, 1))
    return _without_dilation(("Input", "Block", "DW K1", "DW K2", "Expanded Dim", "Output Dim", "Stride", "dilation"), lines)


def _universal(row: Universal) -> str:
    match bool(row.start_kernel), bool(row.middle_kernel):
        case True, True:
            return "ExtraDW"
        case True, False:
            return "ConvNext"
        case False, True:
            return "IB"
        case _:
            return "FFN"


def _each(spec: BackboneSpec, height: int, width: int) -> Iterator[_Line]:
    for place in places(spec):
        yield _Line(place, height, width)
        height, width = _smaller(height, place.stride), _smaller(width, place.stride)


def _grouped(spec: BackboneSpec, height: int, width: int) -> Iterator[_Line]:
    """The lines with repeated rows merged into one, as the first two papers print them."""
    groups: list[list[_Line]] = []
    for line in _each(spec, height, width):
        if groups and _repeats(groups[-1][-1].place, line.place):
            groups[-1].append(line)
        else:
            groups.append([line])
    for group in groups:
        yield replace(group[0], times=len(group))


def _repeats(above: Place, below: Place) -> bool:
    """Whether a row only repeats the one above; only the first may have a stride or change the number of channels."""
    if type(above.row) is not type(below.row) or below.row.stride != 1 or below.dilation != above.dilation:
        return False
    if isinstance(above.row, Bottleneck) and isinstance(below.row, Bottleneck):
        same_t = above.row.c_expand * below.c_in == below.row.c_expand * above.c_in
        return same_t and replace(above.row, c_expand=0, stride=1) == replace(below.row, c_expand=0)
    if isinstance(above.row, ResNetBottleneck) and isinstance(below.row, ResNetBottleneck):
        return replace(above.row, stride=1) == below.row
    return above.row == below.row and above.c_in == below.c_in


def _last_size(spec: BackboneSpec, height: int, width: int) -> tuple[int, int]:
    for place in places(spec):
        height, width = _smaller(height, place.stride), _smaller(width, place.stride)
    return height, width


def _smaller(size: int, stride: int) -> int:
    return -(-size // stride)


def _shape(height: int, width: int, channels: int) -> str:
    return f"{height}x{width}x{channels}"


def _kernel(k: int) -> str:
    return f"{k}x{k}" if k else "-"


def _ratio(value: float) -> Cell:
    return int(value) if value == int(value) else round(value, 2)


def _without_dilation(
    columns: tuple[str, ...], lines: list[tuple[Cell, ...]]
) -> tuple[tuple[str, ...], list[tuple[Cell, ...]]]:
    """The table, without its last column if nothing is dilated, as in the papers."""
    if all(line[-1] == 1 for line in lines):
        return columns[:-1], [line[:-1] for line in lines]
    return columns, lines
