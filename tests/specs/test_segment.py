from __future__ import annotations

import pytest

from mobilenets.errors import SpecError, UnknownNameError
from mobilenets.specs.families import PAPERS, backbone
from mobilenets.specs.model import HALF, InputContract
from mobilenets.specs.rows import Bottleneck, Conv, places
from mobilenets.specs.segment import (
    check_maps,
    segmentation_backbone,
    segmentation_input,
    with_reduced_last_block,
)


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("name", PAPERS)
def test_every_network_ends_at_the_output_stride(name: str, output_stride: int) -> None:
    spec = segmentation_backbone(backbone(name), output_stride=output_stride, on="last", reduced=False)
    stride = 1
    for place in places(spec):
        stride *= place.stride
    assert (stride, spec.tail) == (output_stride, ())


def test_the_second_last_map_of_v2_has_320_channels() -> None:
    spec = segmentation_backbone(backbone("mobilenet_v2"), output_stride=16, on="second_last", reduced=False)
    assert spec.rows == backbone("mobilenet_v2").rows[:-1]
    assert spec.c_out == 320


def test_half_the_filters_in_the_last_block_of_v3_large() -> None:
    *before, first, second, third, last = with_reduced_last_block(backbone("mobilenet_v3_large")).rows
    assert tuple(before) == backbone("mobilenet_v3_large").rows[:-4]
    assert [(row.c_expand, row.c_out) for row in (first, second, third) if isinstance(row, Bottleneck)] == [
        (336, 80),
        (480, 80),
        (480, 80),
    ]
    assert [row.c_squeeze for row in (first, second, third) if isinstance(row, Bottleneck)] == [88, 120, 120]
    assert last == Conv(480, activation="hard_swish")


@pytest.mark.parametrize(
    ("width", "block"), [(1.0, [(576, 80), (480, 80), (480, 80), (480, 160)]), (0.35, [(192, 32), *[(192, 32)] * 2, (192, 56)])]
)
def test_expansions_may_follow_what_enters_their_rows(width: float, block: list[tuple[int, int]]) -> None:
    rows = with_reduced_last_block(backbone("mobilenet_v2", width=width), expansions="follow").rows[-5:-1]
    assert [(row.c_expand, row.c_out) for row in rows if isinstance(row, Bottleneck)] == block


@pytest.mark.parametrize("name", PAPERS)
def test_every_network_can_have_half_the_filters(name: str) -> None:
    whole, reduced = backbone(name), with_reduced_last_block(backbone(name))
    last = [place.table_stride >= 32 for place in places(whole)]
    for before, after, is_last in zip(whole.rows, reduced.rows, last, strict=True):
        assert after.c_out == (before.c_out // 2 if is_last else before.c_out)


def test_another_output_stride_is_an_error() -> None:
    with pytest.raises(SpecError, match="output stride 4 is not one of 8, 16, 32"):
        segmentation_backbone(backbone("mobilenet_v2"), output_stride=4, on="last", reduced=False)


def test_the_whole_image_is_stretched_to_height_and_width() -> None:
    contract = InputContract(size=360, wide=480, mean=HALF, std=HALF, resize="stretch", crop=1.0)
    assert segmentation_input((360, 480), 3) == contract
    assert segmentation_input(513, 3).shape == segmentation_input((513, 513), 3).shape == (513, 513)
    assert segmentation_input(64, 5).mean == (0.5,)


def test_a_map_that_is_not_there_is_named_with_near_ones() -> None:
    with pytest.raises(UnknownNameError, match="s64"):
        check_maps(backbone("mobilenet_v2"), "", "s8", "s64")
