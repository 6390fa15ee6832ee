"""A classifier's layer graph from its spec, without torch: equal to what `trace` records when the module runs.

Commands that print a cost use it, because importing torch takes seconds. The counts still match the module that runs: a test
compares this graph with `trace`, layer by layer, for every network of the family.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mobilenets.analysis.layers import Function, Kind, Layer, LayerGraph, Window
from mobilenets.errors import SpecError
from mobilenets.specs.rows import (
    Attention,
    BackboneSpec,
    Bottleneck,
    Conv,
    Fused,
    Padding,
    Place,
    ResNetBottleneck,
    Separable,
    Universal,
    places,
)


def outline(backbone: BackboneSpec, classes: int, height: int, width: int) -> LayerGraph:
    """The graph of a backbone with a classifier, for one image.

    Args:
        backbone: the network up to its classifier.
        classes: number of logits.
        height, width: size of the input, px.
    """
    run = _Run(backbone)
    x = run.value(backbone.in_channels, height, width)
    for i, place in enumerate(places(backbone)):
        x = _block(run, place, f"backbone.blocks.{i}", i, x)
    x = run.pool("pool", x, -1)
    for i, row in enumerate(backbone.tail):
        x = run.conv(f"backbone.tail.{i}", x, row.c_out, row.kernel, norm=row.norm, activation=row.activation)
    c_in = run.channels(x)
    logits = run.layer("head.linear", "linear", (x,), (1, classes), params=(c_in + 1) * classes, macs=c_in * classes)
    return LayerGraph(tuple(run.layers), tuple(run.shapes), (logits,))


def _block(run: _Run, place: Place, name: str, block: int, x: int) -> int:
    """Add the layers of one row, and return its output value."""
    row, stride, dilation = place.row, place.stride, place.dilation
    same = row.stride == 1 and place.c_in == row.c_out
    run.block = block
    try:
        match row:
            case Conv():
                return run.conv(name, x, row.c_out, row.kernel, stride, dilation, norm=row.norm, activation=row.activation)
            case Separable():
                deep = run.depthwise(f"{name}.depthwise", x, row.kernel, stride, dilation, activation=row.activation)
                return run.conv(f"{name}.pointwise", deep, row.c_out, activation=row.activation)
            case Bottleneck():
                act = row.activation
                wide = run.conv(f"{name}.expand", x, row.c_expand, activation=act) if row.c_expand != place.c_in else x
                deep = run.depthwise(f"{name}.depthwise", wide, row.kernel, stride, dilation, activation=act)
                if row.shortcut == "expansion" and row.stride == 1:
                    deep = run.join(name, "add", deep, wide)
                if row.c_squeeze:
                    deep = _squeeze_excite(run, f"{name}.squeeze", deep, row.c_squeeze)
                out = run.conv(f"{name}.project", deep, row.c_out, activation=row.project_activation)
                return run.join(name, "add", x, out) if same and row.shortcut == "bottleneck" else out
            case Fused():
                act = row.activation
                wide = run.conv(f"{name}.expand", x, row.c_expand, row.kernel, stride, dilation, activation=act)
                out = run.conv(f"{name}.project", wide, row.c_out)
                return run.join(name, "add", x, out) if same else out
            case Universal():
                at_start = 1 if row.middle_kernel else stride
                start = run.depthwise(f"{name}.start", x, row.start_kernel, at_start, dilation)
                act = row.activation
                wide = run.conv(f"{name}.expand", start, row.c_expand, activation=act)
                deep = run.depthwise(f"{name}.middle", wide, row.middle_kernel, stride, dilation, activation=act)
                out = run.conv(f"{name}.project", deep, row.c_out, scaled=row.layer_scale)
                return run.join(name, "add", x, out) if same else out
            case Attention():
                return _attention(run, row, name, x)
            case ResNetBottleneck():
                beside = x if same else run.conv(f"{name}.shortcut", x, row.c_out, 1, stride)
                act = row.activation
                narrow = run.conv(f"{name}.reduce", x, row.c_reduce, activation=act)
                middle = run.conv(f"{name}.middle", narrow, row.c_reduce, row.kernel, stride, dilation, activation=act)
                return run.join(name, "add", beside, run.conv(f"{name}.expand", middle, row.c_out), activation=act)
            case _:
                raise SpecError(f"there is no outline of a row of kind {type(row).__name__}")
    finally:
        run.block = -1


def _squeeze_excite(run: _Run, name: str, x: int, c_squeeze: int) -> int:
    pooled = run.pool(name, x, run.block)
    narrow = run.plain_conv(f"{name}.reduce", pooled, c_squeeze, bias=True, activation="relu")
    weights = run.plain_conv(f"{name}.expand", narrow, run.channels(x), bias=True, activation="hard_sigmoid")
    return run.join(name, "multiply", x, weights)


def _attention(run: _Run, row: Attention, name: str, x: int) -> int:
    channels = run.channels(x)
    y = run.layer(f"{name}.norm", "norm", (x,), run.shapes[x], params=2 * channels)
    query = run.plain_conv(f"{name}.query", y, row.heads * row.key_dim)
    smaller = run.depthwise(f"{name}.key_reduce", y, 3, row.kv_stride) if row.kv_stride > 1 else y
    key = run.plain_conv(f"{name}.key", smaller, row.key_dim)
    smaller = run.depthwise(f"{name}.value_reduce", y, 3, row.kv_stride) if row.kv_stride > 1 else y
    value = run.plain_conv(f"{name}.value", smaller, row.key_dim)
    _, _, h, w = run.shapes[query]
    _, _, kv_h, kv_w = run.shapes[key]
    rows, kv_rows = h * w * row.heads, kv_h * kv_w  # all heads share one key, so heads are just additional rows of queries
    run.shapes[query] = (1, 1, rows, row.key_dim)
    run.shapes[key] = (1, 1, row.key_dim, kv_rows)
    macs = rows * kv_rows * row.key_dim
    scores = run.layer(name, "matmul", (query, key), (1, 1, rows, kv_rows), macs=macs, activation="softmax")
    mixed = run.layer(name, "matmul", (scores, value), (1, rows, row.key_dim), macs=macs)
    c_mixed = row.heads * row.key_dim
    out = run.layer(
        f"{name}.project",
        "conv",
        (mixed,),
        (1, row.c_out, h, w),
        params=row.c_out * (c_mixed + row.layer_scale),
        macs=row.c_out * h * w * c_mixed,
        window=Window((1, 1), (1, 1), (1, 1)),
    )
    return run.join(name, "add", x, out)


@dataclass(slots=True)
class _Run:
    """The layers added so far."""

    like: BackboneSpec
    layers: list[Layer] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    block: int = -1

    def value(self, *shape: int) -> int:
        """Add a value for one image: channels, height, width."""
        self.shapes.append((1, *shape))
        return len(self.shapes) - 1

    def channels(self, value: int) -> int:
        return self.shapes[value][1]

    def layer(
        self,
        name: str,
        kind: Kind,
        inputs: tuple[int, ...],
        shape: tuple[int, ...],
        *,
        params: int = 0,
        macs: int = 0,
        window: Window | None = None,
        activation: Function = "linear",
    ) -> int:
        """Add a layer, and return its output value."""
        self.shapes.append(shape)
        output = len(self.shapes) - 1
        self.layers.append(Layer(name, kind, inputs, output, params, macs, window, self.block, activation))
        return output

    def conv(
        self,
        name: str,
        x: int,
        c_out: int,
        kernel: int = 1,
        stride: int = 1,
        dilation: int = 1,
        *,
        norm: bool = True,
        scaled: bool = False,
        activation: Function = "linear",
    ) -> int:
        """Add a full convolution with batch norm or a bias; `scaled` adds a learned factor per channel."""
        extra = (2 if norm else 1) + scaled
        return self._convolution(f"{name}.conv", x, c_out, 1, (kernel, stride, dilation), extra, activation)

    def depthwise(
        self, name: str, x: int, kernel: int, stride: int = 1, dilation: int = 1, *, activation: Function = "linear"
    ) -> int:
        """Add a depthwise convolution with batch norm; nothing if the kernel is 0."""
        if kernel == 0:
            return x
        channels = self.channels(x)
        return self._convolution(f"{name}.conv", x, channels, channels, (kernel, stride, dilation), 2, activation)

    def plain_conv(self, name: str, x: int, c_out: int, *, bias: bool = False, activation: Function = "linear") -> int:
        """Add a 1 x 1 convolution without batch norm."""
        return self._convolution(name, x, c_out, 1, (1, 1, 1), int(bias), activation)

    def pool(self, name: str, x: int, block: int) -> int:
        """Add the mean of each channel."""
        self.block = block
        return self.layer(name, "pool", (x,), (1, self.channels(x), 1, 1))

    def join(self, name: str, kind: Kind, first: int, second: int, *, activation: Function = "linear") -> int:
        """Add the sum or product of two values."""
        return self.layer(name, kind, (first, second), self.shapes[first], activation=activation)

    def _convolution(
        self, name: str, x: int, c_out: int, groups: int, window: tuple[int, int, int], extra: int, activation: Function
    ) -> int:
        kernel, stride, dilation = window
        _, c_in, height, width = self.shapes[x]
        kind: Kind = "depthwise" if groups > 1 else "conv"
        rule = rule_of(self.like, kind)
        shape = (1, c_out, *(side_made(side, kernel, stride, dilation, rule) for side in (height, width)))
        of_one_output = c_in // groups * kernel * kernel
        return self.layer(
            name,
            kind,
            (x,),
            shape,
            params=c_out * (of_one_output + extra),
            macs=c_out * shape[2] * shape[3] * of_one_output,
            window=Window((kernel, kernel), (stride, stride), (dilation, dilation)),
            activation=activation,
        )


def rule_of(backbone: BackboneSpec, kind: Kind) -> Padding:
    """A backbone's padding rule for one kind of convolution: Keras's V1 pads only depthwise ones at the end."""
    return "tf" if backbone.padding == "end" and kind != "depthwise" else backbone.padding


def margins(side: int, kernel: int, stride: int, dilation: int, rule: Padding) -> tuple[int, int]:
    """Numbers of zeros before and after a side of a convolution's input."""
    reach = dilation * (kernel - 1)
    if stride == 1 or rule == "symmetric":
        return reach // 2, reach // 2
    if rule == "end":
        return 0, max(reach + 1 - stride, 0)
    total = max((-(-side // stride) - 1) * stride + reach + 1 - side, 0)
    return total // 2, total - total // 2


def side_made(side: int, kernel: int, stride: int, dilation: int, rule: Padding) -> int:
    """Length of a side of a convolution's output."""
    return (side + sum(margins(side, kernel, stride, dilation, rule)) - dilation * (kernel - 1) - 1) // stride + 1
