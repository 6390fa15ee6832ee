"""Width conventions, against the libraries that have them."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import nn

from mobilenets.analysis.trace import trace
from mobilenets.net.backbone import Backbone
from mobilenets.specs import v1, v2, v3, v4
from mobilenets.specs.families import backbone
from mobilenets.specs.rows import Bottleneck, Conv, Row, make_divisible
from mobilenets.specs.scaling import Scaling, deepened, scaled, squeeze


def cost(module: nn.Module) -> tuple[int, int]:
    """Parameters and MACs of a network without its classifier."""
    graph = trace(module, (1, 3, 128, 128))
    return graph.params, graph.macs


def ours(name: str, width: float, scaling: Scaling) -> tuple[int, int]:
    with torch.device("meta"):
        network = Backbone(backbone(name, width=width, scaling=scaling))
    return cost(Pooled(network))


class Pooled(nn.Module):
    """A backbone that returns its features."""

    def __init__(self, network: Backbone) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network.features(x)


@pytest.mark.parametrize("width", [0.35, 0.75, 1.0, 1.4])
def test_v2_is_torchvisions_at_every_width(width: float) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.mobilenet_v2(width_mult=width)
    theirs.classifier = nn.Identity()
    assert ours("mobilenet_v2", width, v2.TORCHVISION) == cost(theirs)


@pytest.mark.parametrize("width", [0.35, 0.5, 0.75, 1.0, 1.25])
@pytest.mark.parametrize("size", ["large", "small"])
def test_v3_is_torchvisions_at_every_width(size: str, width: float) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"mobilenet_v3_{size}")(width_mult=width)
    theirs.classifier = theirs.classifier[:2]
    assert ours(f"mobilenet_v3_{size}", width, v3.TORCHVISION) == cost(theirs)


# fmt: off
TIMM = [
    ("mobilenetv1_100",               "mobilenet_v1",                1.0,  v1.TIMM),
    ("mobilenetv1_125",               "mobilenet_v1",                1.25, v1.TIMM),
    ("mobilenetv2_035",               "mobilenet_v2",                0.35, v2.TIMM),
    ("mobilenetv2_140",               "mobilenet_v2",                1.4,  v2.TIMM),
    ("mobilenetv2_110d",              "mobilenet_v2",                1.1,  v2.TIMM_110D),
    ("mobilenetv2_120d",              "mobilenet_v2",                1.2,  v2.TIMM_120D),
    ("mobilenetv3_large_075",         "mobilenet_v3_large",          0.75, v3.TIMM),
    ("mobilenetv3_large_150d",        "mobilenet_v3_large",          1.5,  v3.TIMM_150D),
    ("mobilenetv3_small_050",         "mobilenet_v3_small",          0.5,  v3.TIMM),
    ("mobilenetv4_conv_small_035",    "mobilenet_v4_conv_small",     0.35, v4.TIMM),
    ("mobilenetv4_conv_medium",       "mobilenet_v4_conv_medium",    1.0,  v4.TIMM),
    ("mobilenetv4_conv_large",        "mobilenet_v4_conv_large",     1.0,  v4.TIMM),
    ("mobilenetv4_hybrid_medium_075", "mobilenet_v4_hybrid_medium",  0.75, v4.TIMM),
    ("mobilenetv4_hybrid_large",      "mobilenet_v4_hybrid_large",   1.0,  v4.TIMM),
]
# fmt: on


@pytest.mark.parametrize(("theirs", "name", "width", "scaling"), TIMM)
def test_every_network_of_timm(theirs: str, name: str, width: float, scaling: Scaling) -> None:
    with torch.device("meta"):
        network = timm.create_model(theirs, num_classes=0)
    assert ours(name, width, scaling) == cost(network)


def test_expansions_follow_the_rounded_input_or_the_table() -> None:
    """V3-Large at 0.75: 40 channels become 32, 120 = 3 x 40 become 96 or 120 x 0.75 = 90, rounded to 88."""
    rows: list[Row] = [Conv(40), Bottleneck(120, 40)]
    [_, from_input] = scaled(rows, 0.75, Scaling(expansion="input"))
    [_, from_table] = scaled(rows, 0.75, Scaling(expansion="table"))
    assert (from_input, from_table) == (Bottleneck(96, 32), Bottleneck(88, 32))


def test_a_block_without_expansion_stays_without() -> None:
    rows: list[Row] = [Conv(32), Bottleneck(32, 16)]
    for scaling in (Scaling(), Scaling(expansion="table"), Scaling(stem_from=1.0)):
        stem, block = scaled(rows, 0.35, scaling)
        assert isinstance(block, Bottleneck)
        assert block.c_expand == stem.c_out


def test_squeeze_follows_the_scaled_expansion() -> None:
    [_, row] = scaled([Conv(40), Bottleneck(120, 40, c_squeeze=32)], 0.5, Scaling())
    assert row == Bottleneck(72, 24, c_squeeze=24)


@pytest.mark.parametrize(("expansion", "inner"), [(16, 8), (72, 24), (120, 32), (240, 64), (480, 120), (672, 168), (960, 240)])
def test_squeeze_is_a_quarter_to_a_multiple_of_8(expansion: int, inner: int) -> None:
    """The released V3-Large and V3-Small."""
    assert squeeze(expansion) == inner


@pytest.mark.parametrize(("last", "at_half", "at_two"), [("grows", 1280, 2560), ("fixed", 1280, 1280), ("scales", 640, 2560)])
def test_the_last_layer(last: str, at_half: int, at_two: int) -> None:
    scaling = Scaling(last=last)  # type: ignore[arg-type]  # one of the three, by the cases above
    assert (scaling.last_layer(1280, 0.5), scaling.last_layer(1280, 2.0)) == (at_half, at_two)


def test_the_stem_is_kept_below_its_width() -> None:
    scaling = Scaling(stem_from=0.75)
    assert (scaling.stem(16, 0.5), scaling.stem(16, 0.75), scaling.stem(32, 0.75)) == (16, 16, 24)


def test_deeper_stages_stride_once() -> None:
    stage: list[Row] = [Bottleneck(96, 32, stride=2), Bottleneck(192, 32), Bottleneck(192, 32)]
    for depth, rows in ((1.0, 3), (1.2, 4), (1.4, 5), (2.0, 6)):
        deep = deepened(stage, depth)
        assert [row.stride for row in deep] == [2] + [1] * (rows - 1)


def test_make_divisible_never_loses_more_than_a_tenth() -> None:
    assert all(make_divisible(c) >= 0.9 * c and make_divisible(c) % 8 == 0 for c in range(1, 2000))
