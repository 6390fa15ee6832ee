"""Networks by name."""

from __future__ import annotations

import math

import pytest

from mobilenets.errors import SpecError, UnknownNameError
from mobilenets.specs import v2
from mobilenets.specs.families import BACKBONES, COMPARISONS, PAPERS, backbone, with_activation
from mobilenets.specs.rows import Bottleneck, Conv, feature_maps, places


@pytest.mark.parametrize("name", BACKBONES)
def test_a_network_has_the_name_it_is_listed_under(name: str) -> None:
    assert BACKBONES[name]().name == name


@pytest.mark.parametrize("name", BACKBONES)
def test_every_network_strides_to_32(name: str) -> None:
    assert [place.table_stride for place in places(backbone(name))][-1] == 32
    assert {"s2", "s4", "s8", "s16", "s32"} <= set(feature_maps(backbone(name)))


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("width", [0.1, 0.35, 0.5, 0.75, 1.25, 2.0])
def test_every_network_exists_at_every_width(name: str, width: float) -> None:
    spec = backbone(name, width=width)
    assert spec.width == width
    assert all(row.c_out >= 8 for row in (*spec.rows, *spec.tail))


@pytest.mark.parametrize("name", BACKBONES)
def test_wider_is_never_narrower(name: str) -> None:
    narrow, wide = backbone(name, width=0.5), backbone(name, width=1.5)
    assert all(a.c_out <= b.c_out for a, b in zip(narrow.rows, wide.rows, strict=True))


def test_papers_and_comparisons_are_apart() -> None:
    assert not PAPERS.keys() & COMPARISONS.keys()
    assert list(BACKBONES) == [*PAPERS, *COMPARISONS]


@pytest.mark.parametrize(
    ("name", "size", "dropout", "norm_eps", "norm_momentum"),
    [
        ("mobilenet_v1", 224, 0.001, 1e-3, 0.0003),
        ("mobilenet_v2", 224, 0.2, 1e-3, 0.003),
        ("mobilenet_v3_large", 224, 0.2, 1e-3, 0.003),
        ("mobilenet_v4_conv_small", 224, 0.3, 1e-6, 0.05),
        ("mobilenet_v4_conv_medium", 256, 0.2, 1e-3, 0.003),
        ("mobilenet_v4_hybrid_large", 384, 0.2, 1e-3, 0.003),
    ],
)
def test_settings_are_the_papers(name: str, size: int, dropout: float, norm_eps: float, norm_momentum: float) -> None:
    spec = backbone(name)
    assert (spec.size, spec.dropout, spec.norm_eps, spec.norm_momentum) == (size, dropout, norm_eps, norm_momentum)


@pytest.mark.parametrize(
    ("name", "activations"),
    [
        ("mobilenet_v1", {"relu"}),
        ("mobilenet_v2", {"relu6"}),
        ("mobilenet_v3_large", {"relu", "hard_swish"}),
        ("mobilenet_v3_large_minimalistic", {"relu"}),
        ("mobilenet_v4_conv_small", {"relu"}),
    ],
)
def test_activations_are_the_papers(name: str, activations: set[str]) -> None:
    spec = backbone(name)
    assert {getattr(row, "activation", None) for row in (*spec.rows, *spec.tail)} == activations


def test_minimalistic_has_no_squeeze_excite_and_no_5x5() -> None:
    for name in ("mobilenet_v3_large_minimalistic", "mobilenet_v3_small_minimalistic"):
        blocks = [row for row in backbone(name).rows if isinstance(row, Bottleneck)]
        assert {(row.kernel, row.c_squeeze) for row in blocks} == {(3, 0)}


def test_overrides_reach_the_spec() -> None:
    spec = backbone(
        "mobilenet_v2",
        width=1.1,
        in_channels=4,
        padding="symmetric",
        output_stride=16,
        scaling=v2.TIMM_110D,
        norm_eps=1e-5,
        norm_momentum=0.1,
        dropout=0.0,
        stochastic_depth=0.1,
    )
    assert (spec.in_channels, spec.padding, spec.output_stride, spec.norm_eps, spec.norm_momentum) == (
        *(4, "symmetric", 16),
        *(1e-5, 0.1),
    )
    assert (spec.dropout, spec.stochastic_depth, spec.rows[0].c_out) == (0.0, 0.1, 32)


def test_another_activation_leaves_linear_layers_linear() -> None:
    spec = backbone("mobilenet_v2", activation="relu")
    blocks = [row for row in spec.rows if isinstance(row, Bottleneck)]
    assert {(row.activation, row.project_activation) for row in blocks} == {("relu", "linear")}
    [edgetpu] = [row for row in backbone("mobilenet_edgetpu", activation="relu6").rows[1:2] if isinstance(row, Conv)]
    assert edgetpu.activation == "linear"
    nonlinear = with_activation(backbone("mobilenet_v2_relu_bottleneck"), "relu").rows[1]
    assert isinstance(nonlinear, Bottleneck)
    assert nonlinear.project_activation == "relu"


def test_an_unknown_name_suggests_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="unknown network 'mobilenet_v3'; did you mean 'mobilenet_v"):
        backbone("mobilenet_v3")


@pytest.mark.parametrize("width", [0.0, -1.0, math.nan, math.inf])
def test_width_must_be_above_0(width: float) -> None:
    with pytest.raises(SpecError, match="is not above 0"):
        backbone("mobilenet_v2", width=width)


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(SpecError, match="0 input channels"):
        backbone("mobilenet_v2", in_channels=0)
    with pytest.raises(SpecError, match="output stride 4 is not one of 8, 16, 32"):
        backbone("mobilenet_v2", output_stride=4)
    with pytest.raises(SpecError, match="padding 'same' is not one of"):
        backbone("mobilenet_v2", padding="same")  # type: ignore[arg-type]  # what a user may type
    with pytest.raises(SpecError, match="activation 'swish' is not one of"):
        backbone("mobilenet_v2", activation="swish")  # type: ignore[arg-type]  # what a user may type
    with pytest.raises(SpecError, match=r"dropout 1\.0 is not from 0 to below 1"):
        backbone("mobilenet_v2", dropout=1.0)
    with pytest.raises(SpecError, match="norm momentum 2 is not between 0 and 1"):
        backbone("mobilenet_v2", norm_momentum=2)
