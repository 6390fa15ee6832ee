"""MobileNetV2: Inverted Residuals and Linear Bottlenecks, arXiv:1801.04381."""

from __future__ import annotations

import math
from dataclasses import replace

from mobilenets.specs.rows import Activation, BackboneSpec, Bottleneck, Conv, ResNetBottleneck, Row, Shortcut, make_divisible
from mobilenets.specs.scaling import Scaling, deepened, scaled, widened

ARXIV = "arXiv:1801.04381"

# fmt: off
TABLE_2 = (  # between conv2d 32 and conv2d 1x1 1280
    # t  c    n  s
    (1,  16,  1, 1),
    (6,  24,  2, 2),
    (6,  32,  3, 2),
    (6,  64,  4, 2),
    (6,  96,  3, 1),
    (6,  160, 3, 2),
    (6,  320, 1, 1),
)
# fmt: on
STEM = Conv(32, kernel=3, stride=2)
LAST = Conv(1280)


def truncated_divisible(channels: float) -> int:
    """Keras's rule: round down first, then to a multiple of 8."""
    return make_divisible(int(channels))


PAPER = Scaling()
TORCHVISION = PAPER
KERAS = Scaling(channels=truncated_divisible)
TIMM = PAPER
TIMM_110D = Scaling(stem_from=math.inf, last="fixed", depth=1.2)
TIMM_120D = Scaling(stem_from=math.inf, last="fixed", depth=1.4)


def mobilenet_v2(width: float = 1.0, *, scaling: Scaling = PAPER) -> BackboneSpec:
    """MobileNetV2 (V2, Table 2)."""
    return _backbone("mobilenet_v2", _bottlenecks(), width, scaling)


def mobilenet_v2_relu_bottleneck(width: float = 1.0, *, scaling: Scaling = PAPER) -> BackboneSpec:
    """V2 with ReLU6 after the projections too (V2, Figure 6a)."""
    return _backbone("mobilenet_v2_relu_bottleneck", _bottlenecks(project_activation="relu6"), width, scaling)


def mobilenet_v2_expansion_shortcut(width: float = 1.0, *, scaling: Scaling = PAPER) -> BackboneSpec:
    """V2 with shortcuts between expansions instead of bottlenecks (V2, Figure 6b)."""
    return _backbone("mobilenet_v2_expansion_shortcut", _bottlenecks(shortcut="expansion"), width, scaling)


def mobilenet_v2_no_shortcut(width: float = 1.0, *, scaling: Scaling = PAPER) -> BackboneSpec:
    """V2 without shortcuts (V2, Figure 6b)."""
    return _backbone("mobilenet_v2_no_shortcut", _bottlenecks(shortcut="none"), width, scaling)


def mobilenet_v2_resnet(width: float = 1.0, *, scaling: Scaling = PAPER) -> BackboneSpec:
    """V2's stages with classical residual bottlenecks (V2, Figure 3a): t c channels outside, c inside, full convolutions."""
    rows: list[Row] = []
    for t, c, n, s in TABLE_2:
        first = ResNetBottleneck(c_reduce=c, c_out=t * c, stride=s, activation="relu6")
        rows += [first, *[replace(first, stride=1)] * (n - 1)]
    return _backbone("mobilenet_v2_resnet", rows, width, scaling)


def _bottlenecks(*, project_activation: Activation = "linear", shortcut: Shortcut = "bottleneck") -> list[Row]:
    rows: list[Row] = []
    c_in = STEM.c_out
    for t, c, n, s in TABLE_2:
        for i in range(n):
            stride = s if i == 0 else 1
            rows.append(Bottleneck(t * c_in, c, stride=stride, project_activation=project_activation, shortcut=shortcut))
            c_in = c
    return rows


def _backbone(name: str, rows: list[Row], width: float, scaling: Scaling) -> BackboneSpec:
    first, *stages, last = rows  # the first and the last stage keep their single row
    rows = [STEM, first, *deepened(stages, scaling.depth), last]
    return BackboneSpec(
        name=name,
        rows=(*scaled(rows, width, scaling), widened(LAST, width, scaling)),
        width=width,
        norm_eps=1e-3,
        norm_momentum=0.003,
        dropout=0.2,
    )
