from __future__ import annotations

import pytest

from mobilenets.errors import SpecError, UnknownNameError
from mobilenets.specs import codec
from mobilenets.specs.deeplab import DeepLabHead, aspp_rates, deeplab
from mobilenets.specs.families import backbone

LABELS = ("background", "cat")


@pytest.mark.parametrize(("output_stride", "rates"), [(8, (12, 24, 36)), (16, (6, 12, 18)), (32, (3, 6, 9))])
def test_rates_follow_the_output_stride(output_stride: int, rates: tuple[int, ...]) -> None:
    spec = deeplab(backbone("mobilenet_v1"), LABELS, output_stride=output_stride)
    assert isinstance(spec.head, DeepLabHead)
    assert spec.head.rates == aspp_rates(output_stride) == rates
    assert spec.task == "segment"


def test_a_spec_with_colors_comes_back_from_json() -> None:
    spec = deeplab(
        backbone("mobilenet_v2", width=0.5, in_channels=1),
        LABELS,
        on="second_last",
        reduced=True,
        decoder="s4",
        auxiliary="s8",
        size=(360, 480),
        colors=((0, 0, 0), (255, 128, 0)),
    )
    assert codec.from_json(codec.to_json(spec)) == spec


def test_a_fresh_head_has_no_colors() -> None:
    head = DeepLabHead(rates=(6,), colors=((1, 2, 3),))
    assert head.fresh() == DeepLabHead(rates=(6,))


def test_norms_are_as_in_the_backbone() -> None:
    spec = deeplab(backbone("mobilenet_v2", norm_eps=1e-5, norm_momentum=0.1), LABELS)
    assert isinstance(spec.head, DeepLabHead)
    assert (spec.head.norm_eps, spec.head.norm_momentum) == (1e-5, 0.1)


def test_values_out_of_range_are_errors() -> None:
    network = backbone("mobilenet_v2")
    with pytest.raises(SpecError, match="0 filters; at least 1 is needed"):
        deeplab(network, LABELS, filters=0)
    with pytest.raises(SpecError, match="not all positive"):
        deeplab(network, LABELS, rates=(6, 0))
    with pytest.raises(SpecError, match="is not three values of 0 to 255"):
        deeplab(network, LABELS, colors=((0, 0, 256),))
    with pytest.raises(UnknownNameError):
        deeplab(network, LABELS, decoder="s3")
    with pytest.raises(SpecError, match="dropout"):
        DeepLabHead(dropout=1.0)
