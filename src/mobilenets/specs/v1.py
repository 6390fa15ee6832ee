"""MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications, arXiv:1704.04861."""

from __future__ import annotations

from mobilenets.specs.rows import BackboneSpec, Conv, Row, Separable
from mobilenets.specs.scaling import Scaling, scaled

ARXIV = "arXiv:1704.04861"

# fmt: off
TABLE_1 = (  # the paper draws a separable convolution as two lines, "Conv dw" and "Conv"
    # type    c     s
    ("conv",  32,   2),
    ("dw",    64,   1),
    ("dw",    128,  2),
    ("dw",    128,  1),
    ("dw",    256,  2),
    ("dw",    256,  1),
    ("dw",    512,  2),
    ("dw",    512,  1),  # 5 x
    ("dw",    512,  1),
    ("dw",    512,  1),
    ("dw",    512,  1),
    ("dw",    512,  1),
    ("dw",    1024, 2),
    ("dw",    1024, 1),  # printed with s2, which contradicts its own input and output sizes
)
# fmt: on


def truncated(channels: float) -> int:
    """The number rounded down, but at least 8: slim's rule for V1.

    >>> truncated(32 * 0.35), truncated(32 * 0.1)
    (11, 8)
    """
    return max(int(channels), 8)


PAPER = Scaling(channels=truncated)
KERAS = Scaling(channels=int)
TIMM = Scaling()


def mobilenet_v1(width: float = 1.0, *, scaling: Scaling = PAPER) -> BackboneSpec:
    """MobileNetV1 (V1, Table 1). ReLU as in the paper; the published weights were trained with ReLU6."""
    return _backbone("mobilenet_v1", [_row(kind, c, s) for kind, c, s in TABLE_1], width, scaling)


def mobilenet_v1_full(width: float = 1.0, *, scaling: Scaling = PAPER) -> BackboneSpec:
    """V1 with full convolutions in place of separable ones (V1, Table 4)."""
    return _backbone("mobilenet_v1_full", [_row("conv", c, s) for _, c, s in TABLE_1], width, scaling)


def mobilenet_v1_shallow(width: float = 1.0, *, scaling: Scaling = PAPER) -> BackboneSpec:
    """V1 without the five separable layers at 14 x 14 x 512 (V1, Table 5)."""
    rows = [_row(kind, c, s) for kind, c, s in TABLE_1]
    return _backbone("mobilenet_v1_shallow", rows[:7] + rows[12:], width, scaling)


def _row(kind: str, c: int, s: int) -> Row:
    return Conv(c, kernel=3, stride=s, activation="relu") if kind == "conv" else Separable(c, stride=s)


def _backbone(name: str, rows: list[Row], width: float, scaling: Scaling) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        rows=scaled(rows, width, scaling),
        width=width,
        norm_eps=1e-3,
        norm_momentum=0.0003,
        dropout=0.001,
    )
