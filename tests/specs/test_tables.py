"""Each paper's table, where a slip would leave the counts as they are."""

from __future__ import annotations

from itertools import groupby

import pytest

from mobilenets.specs import v1
from mobilenets.specs.families import backbone
from mobilenets.specs.rows import Bottleneck, Conv, ResNetBottleneck, Row, Separable


def test_v1_truncates_and_keeps_8() -> None:
    assert [row.c_out for row in v1.mobilenet_v1(0.3).rows[:3]] == [9, 19, 38]
    assert v1.mobilenet_v1(0.1).rows[0].c_out == 8
    assert v1.mobilenet_v1(0.1, scaling=v1.KERAS).rows[0].c_out == 3


def test_v1_full_has_the_channels_and_strides_of_v1() -> None:
    separable, full = backbone("mobilenet_v1"), backbone("mobilenet_v1_full")
    assert all(isinstance(row, Separable) for row in separable.rows[1:])
    assert all(isinstance(row, Conv) and row.kernel == 3 for row in full.rows)
    assert [(row.c_out, row.stride) for row in full.rows] == [(row.c_out, row.stride) for row in separable.rows]


def test_v1_shallow_lacks_five_layers_of_512() -> None:
    rows = list(backbone("mobilenet_v1").rows)
    for _ in range(5):
        rows.remove(Separable(512))
    assert list(backbone("mobilenet_v1_shallow").rows) == rows


def test_v2_strides_at_the_first_row_of_a_stage() -> None:
    """V2, Table 2: c, n, s."""
    rows = backbone("mobilenet_v2").rows[1:-1]
    stages = [(c, [row.stride for row in stage]) for c, stage in groupby(rows, lambda row: row.c_out)]
    assert stages == [
        (16, [1]),
        (24, [2, 1]),
        (32, [2, 1, 1]),
        (64, [2, 1, 1, 1]),
        (96, [1, 1, 1]),
        (160, [2, 1, 1]),
        (320, [1]),
    ]


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("mobilenet_v2_relu_bottleneck", {"project_activation": "relu6"}),
        ("mobilenet_v2_expansion_shortcut", {"shortcut": "expansion"}),
        ("mobilenet_v2_no_shortcut", {"shortcut": "none"}),
    ],
)
def test_v2_ablations_change_one_thing(name: str, changed: dict[str, str]) -> None:
    for row, ablated in zip(backbone("mobilenet_v2").rows, backbone(name).rows, strict=True):
        assert differences(row, ablated) == (changed if isinstance(row, Bottleneck) else {})


def differences(row: Row, other: Row) -> dict[str, object]:
    assert type(row) is type(other)
    names = row.__dataclass_fields__
    return {name: getattr(other, name) for name in names if getattr(row, name) != getattr(other, name)}


def test_the_resnet_network_turns_every_bottleneck_inside_out() -> None:
    inverted, classical = backbone("mobilenet_v2").rows, backbone("mobilenet_v2_resnet").rows
    assert len(inverted) == len(classical)
    for row, other in zip(inverted[2:-1], classical[2:-1], strict=True):
        assert isinstance(other, ResNetBottleneck)
        assert (other.c_reduce, other.c_out, other.stride) == (row.c_out, 6 * row.c_out, row.stride)


def test_v3_kernels_squeezes_and_activations() -> None:
    """V3, Table 1, by row: kernel, SE, NL."""
    rows = [row for row in backbone("mobilenet_v3_large").rows if isinstance(row, Bottleneck)]
    assert "".join(str(row.kernel) for row in rows) == "333555333333555"
    assert "".join("s" if row.c_squeeze else "-" for row in rows) == "---sss----sssss"
    assert "".join("H" if row.activation == "hard_swish" else "R" for row in rows) == "RRRRRRHHHHHHHHH"


def test_v3_ends_in_a_layer_without_norm() -> None:
    for name, channels in (("mobilenet_v3_large", 1280), ("mobilenet_v3_small", 1024)):
        assert backbone(name).tail == (Conv(channels, activation="hard_swish", norm=False),)


def test_edgetpu_has_one_row_without_shortcut() -> None:
    rows = [row for row in backbone("mobilenet_edgetpu").rows if isinstance(row, Bottleneck)]
    assert [row.c_expand for row in rows if row.shortcut == "none"] == [768]


def test_v4_hybrid_medium_is_not_table_13() -> None:
    released, printed = backbone("mobilenet_v4_hybrid_medium"), backbone("mobilenet_v4_hybrid_medium_table13")
    assert (len(released.rows), len(printed.rows)) == (33, 32)
