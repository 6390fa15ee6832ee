"""MobileNetV4 - Universal Models for the Mobile Ecosystem, arXiv:2404.10518."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mobilenets.specs.rows import Activation, Attention, BackboneSpec, Conv, Fused, Row, Universal
from mobilenets.specs.scaling import Scaling, scaled, widened

ARXIV = "arXiv:2404.10518"

Block = Literal["Conv", "FusedIB", "ExtraDW", "IB", "ConvNext", "FFN", "MQA"]
Line = tuple[Block, int, int, int, int, int]

# The tables end with the last feature map; pooling and a 1 x 1 convolution to 1280 follow in every network.
# K1 is the kernel of a convolution, or of the depthwise layer before the expansion; K2 of the depthwise layer after it.
# fmt: off
TABLE_11: tuple[Line, ...] = (  # Conv-S; both convolutions of its FusedIB have batch norm and activation
    # block      K1 K2 exp   out   s
    ("Conv",     3, 0, 0,    32,   2),
    ("Conv",     3, 0, 0,    32,   2),
    ("Conv",     1, 0, 0,    32,   1),
    ("Conv",     3, 0, 0,    96,   2),
    ("Conv",     1, 0, 0,    64,   1),
    ("ExtraDW",  5, 5, 192,  96,   2),
    ("IB",       0, 3, 192,  96,   1),
    ("IB",       0, 3, 192,  96,   1),
    ("IB",       0, 3, 192,  96,   1),
    ("IB",       0, 3, 192,  96,   1),
    ("ConvNext", 3, 0, 384,  96,   1),
    ("ExtraDW",  3, 3, 576,  128,  2),
    ("ExtraDW",  5, 5, 512,  128,  1),
    ("IB",       0, 5, 512,  128,  1),
    ("IB",       0, 5, 384,  128,  1),
    ("IB",       0, 3, 512,  128,  1),
    ("IB",       0, 3, 512,  128,  1),
    ("Conv",     1, 0, 0,    960,  1),
)
TABLE_12: tuple[Line, ...] = (  # Conv-M
    # block      K1 K2 exp   out   s
    ("Conv",     3, 0, 0,    32,   2),
    ("FusedIB",  3, 0, 128,  48,   2),
    ("ExtraDW",  3, 5, 192,  80,   2),
    ("ExtraDW",  3, 3, 160,  80,   1),
    ("ExtraDW",  3, 5, 480,  160,  2),
    ("ExtraDW",  3, 3, 640,  160,  1),
    ("ExtraDW",  3, 3, 640,  160,  1),
    ("ExtraDW",  3, 5, 640,  160,  1),
    ("ExtraDW",  3, 3, 640,  160,  1),
    ("ConvNext", 3, 0, 640,  160,  1),
    ("FFN",      0, 0, 320,  160,  1),
    ("ConvNext", 3, 0, 640,  160,  1),
    ("ExtraDW",  5, 5, 960,  256,  2),
    ("ExtraDW",  5, 5, 1024, 256,  1),
    ("ExtraDW",  3, 5, 1024, 256,  1),
    ("ExtraDW",  3, 5, 1024, 256,  1),
    ("FFN",      0, 0, 1024, 256,  1),
    ("ConvNext", 3, 0, 1024, 256,  1),
    ("ExtraDW",  3, 5, 512,  256,  1),
    ("ExtraDW",  5, 5, 1024, 256,  1),
    ("FFN",      0, 0, 1024, 256,  1),
    ("FFN",      0, 0, 1024, 256,  1),
    ("ConvNext", 5, 0, 512,  256,  1),
    ("Conv",     1, 0, 0,    960,  1),
)
HYBRID_MEDIUM: tuple[Line, ...] = (  # Hybrid-M as released, which differs from Table 13
    # block      K1 K2 exp   out   s
    ("Conv",     3, 0, 0,    32,   2),
    ("FusedIB",  3, 0, 128,  48,   2),
    ("ExtraDW",  3, 5, 192,  80,   2),
    ("ExtraDW",  3, 3, 160,  80,   1),
    ("ExtraDW",  3, 5, 480,  160,  2),
    ("FFN",      0, 0, 320,  160,  1),
    ("ExtraDW",  3, 3, 640,  160,  1),
    ("ExtraDW",  3, 5, 640,  160,  1),
    ("MQA",      0, 0, 0,    160,  1),
    ("ExtraDW",  3, 3, 640,  160,  1),
    ("MQA",      0, 0, 0,    160,  1),
    ("ConvNext", 3, 0, 640,  160,  1),
    ("MQA",      0, 0, 0,    160,  1),
    ("ExtraDW",  3, 3, 640,  160,  1),
    ("MQA",      0, 0, 0,    160,  1),
    ("ConvNext", 3, 0, 640,  160,  1),
    ("ExtraDW",  5, 5, 960,  256,  2),
    ("ExtraDW",  5, 5, 1024, 256,  1),
    ("ExtraDW",  3, 5, 1024, 256,  1),
    ("ExtraDW",  3, 5, 1024, 256,  1),
    ("FFN",      0, 0, 512,  256,  1),
    ("ExtraDW",  3, 5, 512,  256,  1),
    ("FFN",      0, 0, 512,  256,  1),
    ("FFN",      0, 0, 1024, 256,  1),
    ("MQA",      0, 0, 0,    256,  1),
    ("ConvNext", 3, 0, 1024, 256,  1),
    ("MQA",      0, 0, 0,    256,  1),
    ("ExtraDW",  5, 5, 1024, 256,  1),
    ("MQA",      0, 0, 0,    256,  1),
    ("ConvNext", 5, 0, 1024, 256,  1),
    ("MQA",      0, 0, 0,    256,  1),
    ("ConvNext", 5, 0, 1024, 256,  1),
    ("Conv",     1, 0, 0,    960,  1),
)
TABLE_13: tuple[Line, ...] = (  # Hybrid-M as printed
    # block      K1 K2 exp   out   s
    ("Conv",     3, 0, 0,    32,   2),
    ("FusedIB",  3, 0, 128,  48,   2),
    ("ExtraDW",  3, 5, 192,  80,   2),
    ("ExtraDW",  3, 3, 160,  80,   1),
    ("ExtraDW",  3, 5, 480,  160,  2),
    ("ExtraDW",  3, 3, 640,  160,  1),
    ("ExtraDW",  3, 3, 640,  160,  1),
    ("ExtraDW",  3, 5, 640,  160,  1),
    ("MQA",      0, 0, 0,    160,  1),
    ("ExtraDW",  3, 3, 640,  160,  1),
    ("MQA",      0, 0, 0,    160,  1),
    ("ConvNext", 3, 0, 640,  160,  1),
    ("MQA",      0, 0, 0,    160,  1),
    ("FFN",      0, 0, 640,  160,  1),
    ("MQA",      0, 0, 0,    160,  1),
    ("ConvNext", 3, 0, 640,  160,  1),
    ("ExtraDW",  5, 5, 960,  256,  2),
    ("ExtraDW",  5, 5, 1024, 256,  1),
    ("ExtraDW",  3, 5, 1024, 256,  1),
    ("ExtraDW",  3, 5, 1024, 256,  1),
    ("FFN",      0, 0, 1024, 256,  1),
    ("ConvNext", 3, 0, 1024, 256,  1),
    ("ExtraDW",  3, 5, 512,  256,  1),
    ("MQA",      0, 0, 0,    256,  1),
    ("ExtraDW",  5, 5, 1024, 256,  1),
    ("MQA",      0, 0, 0,    256,  1),
    ("FFN",      0, 0, 1024, 256,  1),
    ("MQA",      0, 0, 0,    256,  1),
    ("FFN",      0, 0, 1024, 256,  1),
    ("MQA",      0, 0, 0,    256,  1),
    ("ConvNext", 5, 0, 1024, 256,  1),
    ("Conv",     1, 0, 0,    960,  1),
)
TABLE_14: tuple[Line, ...] = (  # Conv-L
    # block      K1 K2 exp   out   s
    ("Conv",     3, 0, 0,    24,   2),
    ("FusedIB",  3, 0, 96,   48,   2),
    ("ExtraDW",  3, 5, 192,  96,   2),
    ("ExtraDW",  3, 3, 384,  96,   1),
    ("ExtraDW",  3, 5, 384,  192,  2),
    ("ExtraDW",  3, 3, 768,  192,  1),
    ("ExtraDW",  3, 3, 768,  192,  1),
    ("ExtraDW",  3, 3, 768,  192,  1),
    ("ExtraDW",  3, 5, 768,  192,  1),
    ("ExtraDW",  5, 3, 768,  192,  1),
    ("ExtraDW",  5, 3, 768,  192,  1),
    ("ExtraDW",  5, 3, 768,  192,  1),
    ("ExtraDW",  5, 3, 768,  192,  1),
    ("ExtraDW",  5, 3, 768,  192,  1),
    ("ConvNext", 3, 0, 768,  192,  1),
    ("ExtraDW",  5, 5, 768,  512,  2),
    ("ExtraDW",  5, 5, 2048, 512,  1),
    ("ExtraDW",  5, 5, 2048, 512,  1),
    ("ExtraDW",  5, 5, 2048, 512,  1),
    ("ConvNext", 5, 0, 2048, 512,  1),
    ("ExtraDW",  5, 3, 2048, 512,  1),
    ("ConvNext", 5, 0, 2048, 512,  1),
    ("ConvNext", 5, 0, 2048, 512,  1),
    ("ExtraDW",  5, 3, 2048, 512,  1),
    ("ExtraDW",  5, 5, 2048, 512,  1),
    ("ConvNext", 5, 0, 2048, 512,  1),
    ("ConvNext", 5, 0, 2048, 512,  1),
    ("ConvNext", 5, 0, 2048, 512,  1),
    ("Conv",     1, 0, 0,    960,  1),
)
TABLE_15: tuple[Line, ...] = (  # Hybrid-L
    # block      K1 K2 exp   out   s
    ("Conv",     3, 0, 0,    24,   2),
    ("FusedIB",  3, 0, 96,   48,   2),
    ("ExtraDW",  3, 5, 192,  96,   2),
    ("ExtraDW",  3, 3, 384,  96,   1),
    ("ExtraDW",  3, 5, 384,  192,  2),
    ("ExtraDW",  3, 3, 768,  192,  1),
    ("ExtraDW",  3, 3, 768,  192,  1),
    ("ExtraDW",  3, 3, 768,  192,  1),
    ("ExtraDW",  3, 5, 768,  192,  1),
    ("ExtraDW",  5, 3, 768,  192,  1),
    ("ExtraDW",  5, 3, 768,  192,  1),
    ("MQA",      0, 0, 0,    192,  1),
    ("ExtraDW",  5, 3, 768,  192,  1),
    ("MQA",      0, 0, 0,    192,  1),
    ("ExtraDW",  5, 3, 768,  192,  1),
    ("MQA",      0, 0, 0,    192,  1),
    ("ExtraDW",  5, 3, 768,  192,  1),
    ("MQA",      0, 0, 0,    192,  1),
    ("ConvNext", 3, 0, 768,  192,  1),
    ("ExtraDW",  5, 5, 768,  512,  2),
    ("ExtraDW",  5, 5, 2048, 512,  1),
    ("ExtraDW",  5, 5, 2048, 512,  1),
    ("ExtraDW",  5, 5, 2048, 512,  1),
    ("ConvNext", 5, 0, 2048, 512,  1),
    ("ExtraDW",  5, 3, 2048, 512,  1),
    ("ConvNext", 5, 0, 2048, 512,  1),
    ("ConvNext", 5, 0, 2048, 512,  1),
    ("ExtraDW",  5, 3, 2048, 512,  1),
    ("ExtraDW",  5, 5, 2048, 512,  1),
    ("MQA",      0, 0, 0,    512,  1),
    ("ConvNext", 5, 0, 2048, 512,  1),
    ("MQA",      0, 0, 0,    512,  1),
    ("ConvNext", 5, 0, 2048, 512,  1),
    ("MQA",      0, 0, 0,    512,  1),
    ("ConvNext", 5, 0, 2048, 512,  1),
    ("MQA",      0, 0, 0,    512,  1),
    ("ConvNext", 5, 0, 2048, 512,  1),
    ("Conv",     1, 0, 0,    960,  1),
)
# Mobile multi-query attention, by the channels of its stage. Tables 13 and 15 do not print it; this is the released code's.
ATTENTION_MEDIUM = {
    # c    heads  key_dim  kv_stride
    160:  (4,     64,      2),
    256:  (4,     64,      1),
}
ATTENTION_LARGE = {
    192:  (8,     48,      2),
    512:  (8,     64,      1),
}
# fmt: on
LAST = 1280

PAPER = Scaling()
TIMM = Scaling(stem_from=1.0, last="fixed")


@dataclass(frozen=True, slots=True)
class Setting:
    """A network's settings besides its table (V4, Table 10; batch norm as in the released training files).

    Args:
        size: the paper's training size, px.
        activation: activation of every layer.
        attention: heads, key_dim and kv_stride, by channels of the stage; empty for the convolutional networks.
    """

    size: int
    activation: Activation = "relu"
    attention: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)
    norm_eps: float = 1e-3
    norm_momentum: float = 0.003
    dropout: float = 0.2
    stochastic_depth: float = 0.0


# fmt: off
CONV_S   = Setting(224, norm_eps=1e-6, norm_momentum=0.05, dropout=0.3)
CONV_M   = Setting(256, stochastic_depth=0.075)
HYBRID_M = Setting(256, stochastic_depth=0.075, attention=ATTENTION_MEDIUM)
CONV_L   = Setting(384, stochastic_depth=0.35)
HYBRID_L = Setting(384, stochastic_depth=0.35, attention=ATTENTION_LARGE, activation="gelu")
# fmt: on


def mobilenet_v4_conv_small(width: float = 1.0, *, scaling: Scaling = PAPER) -> BackboneSpec:
    """MobileNetV4-Conv-S (V4, Table 11), for 224 px."""
    return _backbone("mobilenet_v4_conv_small", TABLE_11, CONV_S, width, scaling)


def mobilenet_v4_conv_medium(width: float = 1.0, *, scaling: Scaling = PAPER) -> BackboneSpec:
    """MobileNetV4-Conv-M (V4, Table 12), for 256 px."""
    return _backbone("mobilenet_v4_conv_medium", TABLE_12, CONV_M, width, scaling)


def mobilenet_v4_hybrid_medium(width: float = 1.0, *, scaling: Scaling = PAPER) -> BackboneSpec:
    """MobileNetV4-Hybrid-M as released, for 256 px. The paper's version is `mobilenet_v4_hybrid_medium_table13`."""
    return _backbone("mobilenet_v4_hybrid_medium", HYBRID_MEDIUM, HYBRID_M, width, scaling)


def mobilenet_v4_hybrid_medium_table13(width: float = 1.0, *, scaling: Scaling = PAPER) -> BackboneSpec:
    """MobileNetV4-Hybrid-M as the paper prints it (V4, Table 13), with the attention of the released code; for 256 px."""
    return _backbone("mobilenet_v4_hybrid_medium_table13", TABLE_13, HYBRID_M, width, scaling)


def mobilenet_v4_conv_large(width: float = 1.0, *, scaling: Scaling = PAPER) -> BackboneSpec:
    """MobileNetV4-Conv-L (V4, Table 14), for 384 px."""
    return _backbone("mobilenet_v4_conv_large", TABLE_14, CONV_L, width, scaling)


def mobilenet_v4_hybrid_large(width: float = 1.0, *, scaling: Scaling = PAPER) -> BackboneSpec:
    """MobileNetV4-Hybrid-L (V4, Table 15), for 384 px."""
    return _backbone("mobilenet_v4_hybrid_large", TABLE_15, HYBRID_L, width, scaling)


def _backbone(name: str, table: Sequence[Line], setting: Setting, width: float, scaling: Scaling) -> BackboneSpec:
    return BackboneSpec(
        name=name,
        rows=scaled([_row(line, setting) for line in table], width, scaling),
        tail=(widened(Conv(LAST, activation=setting.activation), width, scaling),),
        width=width,
        size=setting.size,
        norm_eps=setting.norm_eps,
        norm_momentum=setting.norm_momentum,
        dropout=setting.dropout,
        stochastic_depth=setting.stochastic_depth,
    )


def _row(line: Line, setting: Setting) -> Row:
    block, k1, k2, exp, out, s = line
    match block:
        case "Conv":
            return Conv(out, kernel=k1, stride=s, activation=setting.activation)
        case "FusedIB":
            return Fused(exp, out, kernel=k1, stride=s, activation=setting.activation)
        case "MQA":
            return Attention(out, *setting.attention[out])
        case "ExtraDW" | "IB" | "ConvNext" | "FFN":
            hybrid = bool(setting.attention)  # the hybrids have a layer scale in every block
            return Universal(exp, out, k1, k2, stride=s, activation=setting.activation, layer_scale=hybrid)
