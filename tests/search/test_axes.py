from __future__ import annotations

from dataclasses import replace

import pytest

from mobilenets.errors import SpecError
from mobilenets.net.backbone import Backbone
from mobilenets.search.axes import ROWS, axes, knobs, narrower, resized, sizes, told
from mobilenets.specs.families import BACKBONES, backbone
from mobilenets.specs.model import ModelSpec
from mobilenets.specs.rows import ROWS as KINDS
from mobilenets.specs.rows import Bottleneck, Conv


def test_every_kind_of_row_says_what_its_channels_are() -> None:
    assert list(ROWS) == list(KINDS.values())


def test_blocks_that_share_a_residual_are_one_axis(spec: ModelSpec) -> None:
    leaving = [roles["out"] for roles in axes(spec.backbone)]
    assert leaving == ["rows.0.out", "rows.1.out", "rows.1.out", "rows.1.out", "rows.4.out", "tail.0.out"]
    assert told(spec.backbone, "rows.1.out") == "width of blocks 1 to 3"


def test_the_knobs_of_v3_large_are_its_expansions_and_its_bottleneck_widths() -> None:
    body = backbone("mobilenet_v3_large")
    expansions = [axis for axis in knobs(body) if axis.endswith("inner")]
    assert len(expansions) == 14  # 15 bottlenecks, the first without an expansion layer (V3, Table 1)
    widths = [sizes(body)[axis] for axis in knobs(body) if axis.endswith("out") and axis.startswith("rows")]
    assert widths == [16, 24, 40, 80, 112, 160, 960]  # the column "#out" of V3, Table 1, each width once


@pytest.mark.parametrize("name", BACKBONES)
def test_a_network_resized_to_its_own_sizes_is_the_same(name: str) -> None:
    body = backbone(name)
    assert resized(body, sizes(body)) == body


def test_squeeze_excite_keeps_to_a_quarter_of_the_expansion(spec: ModelSpec) -> None:
    usual = replace(spec.backbone, rows=(Conv(16, kernel=3, stride=2), Bottleneck(96, 24, stride=2, c_squeeze=24)))
    row = resized(usual, {"rows.1.inner": 64}).rows[1]
    assert isinstance(row, Bottleneck)
    assert (row.c_expand, row.c_squeeze) == (64, 16)


def test_squeeze_excite_of_another_share_keeps_that(spec: ModelSpec) -> None:
    row = resized(spec.backbone, {"rows.1.inner": 24}).rows[1]  # 16 of 48 channels before
    assert isinstance(row, Bottleneck)
    assert row.c_squeeze == 8


def test_no_shrink_adds_a_residual_or_removes_an_expansion_layer() -> None:
    body = backbone("mobilenet_v2")
    with pytest.raises(SpecError, match="residual or an expansion layer"):
        resized(body, {"rows.2.inner": 16})  # the second bottleneck has 16 input channels
    with pytest.raises(SpecError, match="residual or an expansion layer"):
        resized(body, {"rows.11.out": 64})  # 64 to 96 channels at stride 1
    widths = [sizes(narrow)["rows.11.out"] for narrow in narrower(body, "rows.11.out")]
    assert widths == [88, 80, 72, 56, 48, 40, 32, 24, 16, 8]


def test_a_block_without_an_expansion_layer_follows_its_input() -> None:
    row = resized(backbone("mobilenet_v2"), {"rows.0.out": 24}).rows[1]
    assert isinstance(row, Bottleneck)
    assert row.c_expand == 24


def test_maps_that_a_head_reads_keep_their_channels() -> None:
    body = backbone("mobilenet_v2")
    free = knobs(body, maps=("s16", "s32.expand", "s32"))
    assert set(knobs(body)) - set(free) == {"rows.11.out", "rows.14.inner", "rows.18.out"}  # blocks 11 to 13 share a residual


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2_resnet", "mobilenet_v3_small", "mobilenet_v4_hybrid_medium"])
def test_every_shrink_can_be_built(name: str) -> None:
    body = backbone(name, width=0.25)
    for axis in knobs(body)[::3]:
        for narrow in narrower(body, axis)[:1]:
            assert Backbone(narrow).spec == narrow
