"""Tables as the papers print them."""

from __future__ import annotations

import pytest

from mobilenets.analysis.paper_table import paper_table
from mobilenets.specs.families import BACKBONES, backbone


def test_v1_table_1() -> None:
    table = paper_table(backbone("mobilenet_v1"), 1000, 224, 224)
    assert table.columns == ("Type / Stride", "Filter Shape", "Input Size")
    assert table.lines[:3] == (
        ("Conv / s2", "3x3x3x32", "224x224x3"),
        ("Conv dw / s1", "3x3x32 dw", "112x112x32"),
        ("Conv / s1", "1x1x32x64", "112x112x32"),
    )
    assert table.lines[13:15] == (
        ("5x Conv dw / s1", "3x3x512 dw", "14x14x512"),
        ("5x Conv / s1", "1x1x512x512", "14x14x512"),
    )
    assert table.lines[-3:] == (
        ("Avg Pool / s1", "Pool 7x7", "7x7x1024"),
        ("FC / s1", "1024x1000", "1x1x1024"),
        ("Softmax / s1", "Classifier", "1x1x1000"),
    )


def test_v2_table_2() -> None:
    table = paper_table(backbone("mobilenet_v2"), 1000, 224, 224)
    assert table.columns == ("Input", "Operator", "t", "c", "n", "s")
    assert table.lines == (
        ("224x224x3", "conv2d", "-", 32, 1, 2),
        ("112x112x32", "bottleneck", 1, 16, 1, 1),
        ("112x112x16", "bottleneck", 6, 24, 2, 2),
        ("56x56x24", "bottleneck", 6, 32, 3, 2),
        ("28x28x32", "bottleneck", 6, 64, 4, 2),
        ("14x14x64", "bottleneck", 6, 96, 3, 1),
        ("14x14x96", "bottleneck", 6, 160, 3, 2),
        ("7x7x160", "bottleneck", 6, 320, 1, 1),
        ("7x7x320", "conv2d 1x1", "-", 1280, 1, 1),
        ("7x7x1280", "avgpool 7x7", "-", "-", 1, "-"),
        ("1x1x1280", "conv2d 1x1", "-", 1000, "-", "-"),
    )


def test_v3_table_1() -> None:
    table = paper_table(backbone("mobilenet_v3_large"), 1000, 224, 224)
    assert table.columns == ("Input", "Operator", "exp size", "#out", "SE", "NL", "s")
    assert table.lines[0] == ("224x224x3", "conv2d, 3x3", "-", 16, "-", "HS", 2)
    assert table.lines[4] == ("56x56x24", "bneck, 5x5", "72", 40, "yes", "RE", 2)
    assert table.lines[-4:] == (
        ("7x7x160", "conv2d, 1x1", "-", 960, "-", "HS", 1),
        ("7x7x960", "pool, 7x7", "-", "-", "-", "-", 1),
        ("1x1x960", "conv2d 1x1, NBN", "-", 1280, "-", "HS", 1),
        ("1x1x1280", "conv2d 1x1, NBN", "-", 1000, "-", "-", 1),
    )


def test_v4_table_12() -> None:
    table = paper_table(backbone("mobilenet_v4_conv_medium"), 1000, 256, 256)
    assert table.columns == ("Input", "Block", "DW K1", "DW K2", "Expanded Dim", "Output Dim", "Stride")
    assert table.lines[1:3] == (
        ("128x128x32", "FusedIB, 3x3", "-", "-", 128, 48, 2),
        ("64x64x48", "ExtraDW", "3x3", "5x5", 192, 80, 2),
    )
    assert {line[1] for line in table.lines} >= {"ExtraDW", "ConvNext", "FFN"}


def test_dilation_has_a_column_where_there_is_any() -> None:
    table = paper_table(backbone("mobilenet_v2", output_stride=16), 1000, 224, 224)
    assert table.columns[-1] == "dilation"
    assert [line[-4:] for line in table.lines if line[1] == "bottleneck"][-3:] == [
        (160, 1, 1, 1),
        (160, 2, 1, 2),
        (320, 1, 1, 2),
    ]


def test_odd_and_oblong_inputs_round_up() -> None:
    table = paper_table(backbone("mobilenet_v2"), 2, 225, 97)
    assert [line[0] for line in table.lines[:3]] == ["225x97x3", "113x49x32", "113x49x16"]


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("output_stride", [8, 32])
def test_every_network_has_a_table(name: str, output_stride: int) -> None:
    table = paper_table(backbone(name, width=0.75, output_stride=output_stride), 10, 96, 96)
    assert {len(line) for line in table.lines} == {len(table.columns)}
