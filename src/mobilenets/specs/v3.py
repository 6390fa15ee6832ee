"""Searching for MobileNetV3, arXiv:1905.02244, and the networks released with it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mobilenets.specs.rows import Activation, BackboneSpec, Bottleneck, Conv, Fused, Row, Shortcut
from mobilenets.specs.scaling import Scaling, deepened, scaled, squeeze, widened

ARXIV = "arXiv:1905.02244"

Line = tuple[int, int, int, bool, str, int]
ACTIVATIONS: dict[str, Activation] = {"RE": "relu", "HS": "hard_swish"}

# fmt: off
TABLE_1: tuple[Line, ...] = (  # Large, between conv2d 16 and conv2d 1x1 960
    # k  exp  out  SE     NL    s
    (3,  16,  16,  False, "RE", 1),
    (3,  64,  24,  False, "RE", 2),
    (3,  72,  24,  False, "RE", 1),
    (5,  72,  40,  True,  "RE", 2),
    (5,  120, 40,  True,  "RE", 1),
    (5,  120, 40,  True,  "RE", 1),
    (3,  240, 80,  False, "HS", 2),
    (3,  200, 80,  False, "HS", 1),
    (3,  184, 80,  False, "HS", 1),
    (3,  184, 80,  False, "HS", 1),
    (3,  480, 112, True,  "HS", 1),
    (3,  672, 112, True,  "HS", 1),
    (5,  672, 160, True,  "HS", 2),
    (5,  960, 160, True,  "HS", 1),
    (5,  960, 160, True,  "HS", 1),
)
TABLE_2: tuple[Line, ...] = (  # Small, between conv2d 16 and conv2d 1x1 576
    # k  exp  out  SE     NL    s
    (3,  16,  16,  True,  "RE", 2),
    (3,  72,  24,  False, "RE", 2),
    (3,  88,  24,  False, "RE", 1),
    (5,  96,  40,  True,  "HS", 2),
    (5,  240, 40,  True,  "HS", 1),
    (5,  240, 40,  True,  "HS", 1),
    (5,  120, 48,  True,  "HS", 1),
    (5,  144, 48,  True,  "HS", 1),
    (5,  288, 96,  True,  "HS", 2),
    (5,  576, 96,  True,  "HS", 1),
    (5,  576, 96,  True,  "HS", 1),
)
EDGETPU = (  # released with V3, not in the paper; between conv2d 32 and conv2d 1x1 1280
    # block    k  exp  out  s  residual
    ("conv",   1, 0,   16,  1, True),  # without expansion, only the projection of a fused block remains
    ("fused",  3, 128, 32,  2, True),
    ("fused",  3, 128, 32,  1, True),
    ("fused",  3, 128, 32,  1, True),
    ("fused",  3, 128, 32,  1, True),
    ("fused",  3, 256, 48,  2, True),
    ("fused",  3, 192, 48,  1, True),
    ("fused",  3, 192, 48,  1, True),
    ("fused",  3, 192, 48,  1, True),
    ("bneck",  3, 384, 96,  2, True),
    ("bneck",  3, 384, 96,  1, True),
    ("bneck",  3, 384, 96,  1, True),
    ("bneck",  3, 384, 96,  1, True),
    ("bneck",  3, 768, 96,  1, False),
    ("bneck",  3, 384, 96,  1, True),
    ("bneck",  3, 384, 96,  1, True),
    ("bneck",  3, 384, 96,  1, True),
    ("bneck",  5, 768, 160, 2, True),
    ("bneck",  5, 640, 160, 1, True),
    ("bneck",  5, 640, 160, 1, True),
    ("bneck",  5, 640, 160, 1, True),
    ("bneck",  3, 1280, 192, 1, True),
)
# fmt: on

PAPER = Scaling()
SLIM = Scaling(last="fixed")
TORCHVISION = Scaling(expansion="table", last="scales", last_map="six_times")
KERAS = Scaling(stem_from=math.inf, last_map="six_times")
TIMM = Scaling(stem_from=0.75, last="fixed")
TIMM_150D = Scaling(stem_from=0.75, last="fixed", depth=1.2)
PADDLECLAS = Scaling(expansion="table", last="fixed")


def mobilenet_v3_large(width: float = 1.0, *, scaling: Scaling = PAPER) -> BackboneSpec:
    """MobileNetV3-Large (V3, Table 1)."""
    return _backbone("mobilenet_v3_large", TABLE_1, 960, 1280, "hard_swish", width, scaling)


def mobilenet_v3_small(width: float = 1.0, *, scaling: Scaling = PAPER) -> BackboneSpec:
    """MobileNetV3-Small (V3, Table 2), with 1024 channels in the last layer as in the released weights."""
    return _backbone("mobilenet_v3_small", TABLE_2, 576, 1024, "hard_swish", width, scaling)


def mobilenet_v3_small_1280(width: float = 1.0, *, scaling: Scaling = PAPER) -> BackboneSpec:
    """MobileNetV3-Small with 1280 channels in the last layer, as in the paper's 2.9 M parameters and PaddleClas's weights."""
    return _backbone("mobilenet_v3_small_1280", TABLE_2, 576, 1280, "hard_swish", width, scaling)


def mobilenet_v3_large_minimalistic(width: float = 1.0, *, scaling: Scaling = PAPER) -> BackboneSpec:
    """Large without squeeze-excite, hard-swish and 5 x 5 kernels, for accelerators that lack them."""
    return _backbone("mobilenet_v3_large_minimalistic", _minimalistic(TABLE_1), 960, 1280, "relu", width, scaling)


def mobilenet_v3_small_minimalistic(width: float = 1.0, *, scaling: Scaling = PAPER) -> BackboneSpec:
    """Small without squeeze-excite, hard-swish and 5 x 5 kernels, for accelerators that lack them."""
    return _backbone("mobilenet_v3_small_minimalistic", _minimalistic(TABLE_2), 576, 1024, "relu", width, scaling)


def mobilenet_edgetpu(width: float = 1.0, *, scaling: Scaling = PAPER) -> BackboneSpec:
    """MobilenetEdgeTPU, released with V3: full convolutions wherever the Edge TPU runs them faster than separable ones."""
    rows: list[Row] = [Conv(32, kernel=3, stride=2, activation="relu")]
    for block, k, exp, out, s, residual in EDGETPU:
        shortcut: Shortcut = "bottleneck" if residual else "none"
        match block:
            case "conv":
                rows.append(Conv(out, kernel=k, stride=s, activation="linear"))
            case "fused":
                rows.append(Fused(exp, out, kernel=k, stride=s))
            case _:
                rows.append(Bottleneck(exp, out, kernel=k, stride=s, activation="relu", shortcut=shortcut))
    return BackboneSpec(
        name="mobilenet_edgetpu",
        rows=(*scaled(rows, width, scaling), widened(Conv(1280, activation="relu"), width, scaling)),
        width=width,
        norm_eps=1e-3,
        norm_momentum=0.003,
        dropout=0.2,
    )


def _minimalistic(table: Sequence[Line]) -> tuple[Line, ...]:
    return tuple((3, exp, out, False, "RE", s) for _, exp, out, _, _, s in table)


def _backbone(
    name: str, table: Sequence[Line], c_map: int, c_last: int, activation: Activation, width: float, scaling: Scaling
) -> BackboneSpec:
    stem = Conv(16, kernel=3, stride=2, activation=activation)
    blocks = [
        Bottleneck(exp, out, kernel=k, stride=s, activation=ACTIVATIONS[nl], c_squeeze=squeeze(exp) if se else 0)
        for k, exp, out, se, nl, s in table
    ]
    rows = scaled([stem, *deepened(blocks, scaling.depth)], width, scaling)
    last_map = 6 * rows[-1].c_out if scaling.last_map == "six_times" else scaling.channels(c_map * width)
    maps = deepened([Conv(last_map, activation=activation)], scaling.depth)
    last = Conv(c_last, activation=activation, norm=False)  # "NBN" in the tables: no batch norm
    return BackboneSpec(
        name=name,
        rows=(*rows, *maps),
        tail=(widened(last, width, scaling),),
        width=width,
        norm_eps=1e-3,
        norm_momentum=0.003,
        dropout=0.2,
    )
