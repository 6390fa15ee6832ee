"""Rows as modules: one class per row type, with layers named as in the papers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from mobilenets.errors import SpecError
from mobilenets.net.depthwise import depthwise
from mobilenets.specs.rows import (
    Activation,
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
)

ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": lambda: nn.ReLU6(inplace=True),
    "hard_swish": lambda: nn.Hardswish(inplace=True),
    "gelu": nn.GELU,
    "linear": nn.Identity,
}
LAYER_SCALE = 1e-5


class PaddedConv2d(nn.Conv2d):
    """A convolution whose padding follows a `Padding` rule at any input size.

    Args:
        rule: how to pad a strided convolution. The convolution itself adds equal padding on both sides; unequal padding costs
            one copy of the input.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        rule: Padding = "symmetric",
    ) -> None:
        even = dilation * (kernel - 1) // 2
        super().__init__(
            c_in,
            c_out,
            kernel,
            stride=stride,
            padding=even,
            dilation=dilation,
            groups=groups,
            bias=bias,
        )
        self.rule = rule
        self._even = (even, even)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] == 1 or self.rule == "symmetric":
            return self._convolved(x, self._even)
        top, bottom = self._before_and_after(x.shape[2])
        left, right = self._before_and_after(x.shape[3])
        if top == bottom and left == right:
            return self._convolved(x, (top, left))
        return self._convolved(functional.pad(x, (left, right, top, bottom)), (0, 0))

    def _convolved(self, x: Tensor, padding: tuple[int, int]) -> Tensor:
        if self.groups == self.in_channels > 1 and self.bias is None:
            stride, dilation = (self.stride[0], self.stride[1]), (self.dilation[0], self.dilation[1])
            return depthwise(x, self.weight, stride=stride, padding=padding, dilation=dilation)
        if self.training and self.stride[0] > 1 and x.shape[3] == 1 and padding != (0, 0):
            # On a CPU, torch leaves the outer columns of the 16-bit gradient uninitialized where all of them are padding.
            x, padding = functional.pad(x, (padding[1], padding[1], padding[0], padding[0])), (0, 0)
        return functional.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _before_and_after(self, size: int) -> tuple[int, int]:
        kernel, stride = self.dilation[0] * (self.kernel_size[0] - 1) + 1, self.stride[0]
        if self.rule == "end":
            return 0, max(kernel - stride, 0)
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2


class ConvNorm(nn.Sequential):
    """Convolution, batch norm and activation; a linear activation is left out.

    Args:
        c_in: input channels.
        c_out: output channels.
        kernel: side of the kernel.
        like: the backbone whose padding and batch norm settings apply.
        depthwise: one filter per channel; `c_out` must equal `c_in`.
        norm: whether batch norm follows; without it, the convolution has a bias.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int,
        *,
        like: BackboneSpec,
        activation: Activation,
        stride: int = 1,
        dilation: int = 1,
        depthwise: bool = False,
        norm: bool = True,
    ) -> None:
        super().__init__()
        groups = c_in if depthwise else 1
        rule: Padding = "tf" if like.padding == "end" and not depthwise else like.padding  # Keras's V1 uses SAME in its stem
        self.conv = PaddedConv2d(c_in, c_out, kernel, stride=stride, dilation=dilation, groups=groups, bias=not norm, rule=rule)
        if norm:
            self.norm = nn.BatchNorm2d(c_out, eps=like.norm_eps, momentum=like.norm_momentum)
        if activation != "linear":
            self.activation = ACTIVATIONS[activation]()


class SeparableBlock(nn.Sequential):
    """A depthwise k x k convolution, then a pointwise 1 x 1 convolution (V1, Fig. 3)."""

    def __init__(self, place: Place, row: Separable, like: BackboneSpec, drop: float) -> None:
        super().__init__()
        c_in, act = place.c_in, row.activation
        self.depthwise = _depthwise(c_in, row.kernel, act, like, stride=place.stride, dilation=place.dilation)
        self.pointwise = ConvNorm(c_in, row.c_out, 1, like=like, activation=act)


class SqueezeExcite(nn.Module):
    """Squeeze-excite: weights each channel by the pooled map after reduce, ReLU, expand and hard sigmoid (V3, section 5.3)."""

    def __init__(self, channels: int, c_squeeze: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, c_squeeze, 1)
        self.expand = nn.Conv2d(c_squeeze, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = x.mean((2, 3), keepdim=True)  # N C 1 1
        weights = functional.relu(self.reduce(weights), inplace=True)
        return x * functional.hardsigmoid(self.expand(weights))


class BottleneckBlock(nn.Module):
    """The inverted residual with linear bottleneck (V2, Fig. 3b); V3 adds squeeze-excite (V3, Fig. 4)."""

    def __init__(self, place: Place, row: Bottleneck, like: BackboneSpec, drop: float) -> None:
        super().__init__()
        wide, act = row.c_expand, row.activation
        self.expand = ConvNorm(place.c_in, wide, 1, like=like, activation=act) if wide != place.c_in else nn.Identity()
        self.depthwise = _depthwise(wide, row.kernel, act, like, stride=place.stride, dilation=place.dilation)
        self.squeeze = SqueezeExcite(wide, row.c_squeeze) if row.c_squeeze else nn.Identity()
        self.project = ConvNorm(wide, row.c_out, 1, like=like, activation=row.project_activation)
        self.drop = _stochastic_depth(drop)
        self.joins_bottlenecks = row.shortcut == "bottleneck" and row.stride == 1 and place.c_in == row.c_out
        self.joins_expansions = row.shortcut == "expansion" and row.stride == 1

    def forward(self, x: Tensor) -> Tensor:
        return self.from_expansion(self.expand(x), x)

    def from_expansion(self, wide: Tensor, x: Tensor) -> Tensor:
        """The block's output, given its expansion `wide` and its input `x`."""
        deep = self.depthwise(wide)
        if self.joins_expansions:
            deep = deep + wide
        out: Tensor = self.project(self.squeeze(deep))
        return _residual(x, self.drop(out)) if self.joins_bottlenecks else out


class FusedBlock(nn.Module):
    """The fused inverted bottleneck: a full k x k convolution, then a linear 1 x 1 projection (V4, Fig. 4)."""

    def __init__(self, place: Place, row: Fused, like: BackboneSpec, drop: float) -> None:
        super().__init__()
        self.expand = ConvNorm(
            place.c_in,
            row.c_expand,
            row.kernel,
            like=like,
            activation=row.activation,
            stride=place.stride,
            dilation=place.dilation,
        )
        self.project = ConvNorm(row.c_expand, row.c_out, 1, like=like, activation="linear")
        self.drop = _stochastic_depth(drop)
        self.residual = row.stride == 1 and place.c_in == row.c_out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(self.expand(x))
        return _residual(x, self.drop(out)) if self.residual else out


class LayerScale(nn.Module):
    """A learned factor per channel, initialized to 1e-5."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), LAYER_SCALE))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight[:, None, None]


class UniversalBlock(nn.Module):
    """The universal inverted bottleneck: ExtraDW, IB, ConvNext-like or FFN, depending on its depthwise kernels (V4, Fig. 4)."""

    def __init__(self, place: Place, row: Universal, like: BackboneSpec, drop: float) -> None:
        super().__init__()
        c_in, wide, act = place.c_in, row.c_expand, row.activation
        at_start = 1 if row.middle_kernel else place.stride
        self.start = _depthwise(c_in, row.start_kernel, "linear", like, stride=at_start, dilation=place.dilation)
        self.expand = ConvNorm(c_in, wide, 1, like=like, activation=act)
        self.middle = _depthwise(wide, row.middle_kernel, act, like, stride=place.stride, dilation=place.dilation)
        self.project = ConvNorm(wide, row.c_out, 1, like=like, activation="linear")
        self.scale = LayerScale(row.c_out) if row.layer_scale else nn.Identity()
        self.drop = _stochastic_depth(drop)
        self.residual = row.stride == 1 and c_in == row.c_out

    def forward(self, x: Tensor) -> Tensor:
        return self.from_expansion(self.expand(self.start(x)), x)

    def from_expansion(self, wide: Tensor, x: Tensor) -> Tensor:
        """The block's output, given its expansion `wide` and its input `x`."""
        out: Tensor = self.scale(self.project(self.middle(wide)))
        return _residual(x, self.drop(out)) if self.residual else out


class AttentionBlock(nn.Module):
    """Mobile multi-query attention: many query heads share one key and one value (V4, section 5)."""

    def __init__(self, place: Place, row: Attention, like: BackboneSpec, drop: float) -> None:
        super().__init__()
        channels, self.heads, self.key_dim = row.c_out, row.heads, row.key_dim
        self.norm = nn.BatchNorm2d(channels, eps=like.norm_eps, momentum=like.norm_momentum)
        self.query = nn.Conv2d(channels, row.heads * row.key_dim, 1, bias=False)
        self.key_reduce = _reduce(channels, row.kv_stride, like)
        self.key = nn.Conv2d(channels, row.key_dim, 1, bias=False)
        self.value_reduce = _reduce(channels, row.kv_stride, like)
        self.value = nn.Conv2d(channels, row.key_dim, 1, bias=False)
        self.project = nn.Conv2d(row.heads * row.key_dim, channels, 1, bias=False)
        self.scale = LayerScale(channels) if row.layer_scale else nn.Identity()
        self.drop = _stochastic_depth(drop)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        # All heads share one key and one value, so the heads are simply additional rows of queries.
        query = _rows(self.query(y), self.key_dim)  # N 1 HW·heads key_dim
        key = _rows(self.key(self.key_reduce(y)), self.key_dim)  # N 1 hw key_dim
        value = _rows(self.value(self.value_reduce(y)), self.key_dim)  # N 1 hw key_dim
        out = functional.scaled_dot_product_attention(query, key, value).squeeze(1)  # N HW·heads key_dim
        out = out.reshape(x.shape[0], *x.shape[2:], -1).permute(0, 3, 1, 2)  # N heads·key_dim H W
        return _residual(x, self.drop(self.scale(self.project(out))))


class ResNetBottleneckBlock(nn.Module):
    """The classic residual bottleneck, which is wide outside and narrow inside (V2, Fig. 3a)."""

    def __init__(self, place: Place, row: ResNetBottleneck, like: BackboneSpec, drop: float) -> None:
        super().__init__()
        c_in, narrow, act = place.c_in, row.c_reduce, row.activation
        self.reduce = ConvNorm(c_in, narrow, 1, like=like, activation=act)
        self.middle = ConvNorm(
            narrow, narrow, row.kernel, like=like, activation=act, stride=place.stride, dilation=place.dilation
        )
        self.expand = ConvNorm(narrow, row.c_out, 1, like=like, activation="linear")
        same = row.stride == 1 and c_in == row.c_out
        self.shortcut = (
            nn.Identity() if same else ConvNorm(c_in, row.c_out, 1, like=like, activation="linear", stride=place.stride)
        )
        self.activation = ACTIVATIONS[act]()
        self.drop = _stochastic_depth(drop)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.shortcut(x) + self.drop(self.expand(self.middle(self.reduce(x)))))
        return out


def build_block(place: Place, like: BackboneSpec, *, drop: float = 0.0) -> nn.Module:
    """The module for one row.

    Args:
        place: the row and its position in the network.
        like: the backbone whose padding and batch norm settings apply.
        drop: probability that stochastic depth drops the residual branch, 0 to 1.
    """
    match place.row:
        case Conv() as row:
            return conv_block(place.c_in, row, like, stride=place.stride, dilation=place.dilation)
        case Separable() as row:
            return SeparableBlock(place, row, like, drop)
        case Bottleneck() as row:
            return BottleneckBlock(place, row, like, drop)
        case Fused() as row:
            return FusedBlock(place, row, like, drop)
        case Universal() as row:
            return UniversalBlock(place, row, like, drop)
        case Attention() as row:
            return AttentionBlock(place, row, like, drop)
        case ResNetBottleneck() as row:
            return ResNetBottleneckBlock(place, row, like, drop)
        case row:
            raise SpecError(f"there is no module for a row of kind {type(row).__name__}")


def conv_block(c_in: int, row: Conv, like: BackboneSpec, *, stride: int = 1, dilation: int = 1) -> ConvNorm:
    """The module for a `Conv` row."""
    return ConvNorm(
        c_in,
        row.c_out,
        row.kernel,
        like=like,
        activation=row.activation,
        stride=stride,
        dilation=dilation,
        norm=row.norm,
    )


def _rows(x: Tensor, columns: int) -> Tensor:
    """The map reshaped to rows of `columns` numbers, position by position: N 1 P columns."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, columns).unsqueeze(1)


def _stochastic_depth(drop: float) -> nn.Module:
    """Drops whole images of a branch while training. torchvision is imported only where a network does so: it takes seconds."""
    if drop == 0:
        return nn.Identity()
    from torchvision.ops import StochasticDepth

    module: nn.Module = StochasticDepth(drop, "row")
    return module


def _residual(x: Tensor, branch: Tensor) -> Tensor:
    return x + branch


def _depthwise(
    channels: int, kernel: int, activation: Activation, like: BackboneSpec, *, stride: int, dilation: int = 1
) -> nn.Module:
    """A depthwise convolution with batch norm and activation, or an identity if the kernel is 0."""
    if kernel == 0:
        return nn.Identity()
    return ConvNorm(
        channels, channels, kernel, like=like, activation=activation, stride=stride, dilation=dilation, depthwise=True
    )


def _reduce(channels: int, stride: int, like: BackboneSpec) -> nn.Module:
    """The spatial reduction of keys and values by a 3 x 3 depthwise convolution."""
    return nn.Identity() if stride == 1 else _depthwise(channels, 3, "linear", like, stride=stride)
