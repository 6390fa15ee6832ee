"""The tables of MobileNetV4, block by block, against the specs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mobilenets.specs.families import backbone
from mobilenets.specs.rows import Attention, Conv, Fused, Place, Universal, places

Read = Callable[[str], list[dict[str, str]]]

# fmt: off
NETWORKS = {
    "Conv-S":                    "mobilenet_v4_conv_small",
    "Conv-M":                    "mobilenet_v4_conv_medium",
    "Conv-L":                    "mobilenet_v4_conv_large",
    "Hybrid-M (released code)":  "mobilenet_v4_hybrid_medium",
    "Hybrid-M (paper Table 13)": "mobilenet_v4_hybrid_medium_table13",
    "Hybrid-L":                  "mobilenet_v4_hybrid_large",
}
# fmt: on


@pytest.mark.parametrize("model", NETWORKS)
def test_every_block_is_the_printed_one(model: str, printed: Read) -> None:
    rows = [row for row in printed("mobilenet_v4_blocks.csv") if row["model"] == model]
    *body, pool, head, _ = rows
    spec, size = backbone(NETWORKS[model]), int(rows[0]["in_size"])
    assert spec.size == size
    for row, place in zip(body, places(spec), strict=True):
        assert (int(row["in_size"]), int(row["in_ch"])) == (size, place.c_in)
        assert (int(row["stride"]), int(row["out_ch"])) == (place.stride, place.row.c_out)
        assert_same_block(row, place)
        size //= place.stride
    assert (pool["block"], int(pool["in_size"]), int(pool["in_ch"])) == ("gpool", size, spec.c_out)
    assert [conv.c_out for conv in spec.tail] == [int(head["out_ch"])]


def assert_same_block(row: dict[str, str], place: Place) -> None:
    match place.row:
        case Conv(kernel=kernel):
            assert (row["block"], row["kind"][:7]) == ("conv", f"conv{kernel}x{kernel}")
        case Fused(c_expand=c_expand, kernel=3):
            assert (row["block"], row["expanded_ch"]) == ("fused_ib", str(c_expand))
        case Universal(c_expand=c_expand, start_kernel=start, middle_kernel=middle):
            found = (row["block"], row["expanded_ch"], row["start_dw_kernel"], row["middle_dw_kernel"])
            assert found == ("uib", str(c_expand), str(start), str(middle))
        case Attention(heads=heads, key_dim=key_dim, kv_stride=kv_stride):
            assert row["block"] == "mqa"
            if row["mqa_heads"]:  # Table 13 leaves them out
                assert (row["mqa_heads"], row["mqa_key_dim"], row["mqa_kv_stride"]) == (
                    str(heads),
                    str(key_dim),
                    str(kv_stride),
                )
        case _:
            pytest.fail(f"{place.row} is in no table of the paper")
    if row["activation"] and not isinstance(place.row, Attention):
        assert getattr(place.row, "activation") == row["activation"]  # noqa: B009  # not every row has one
    if row["layer_scale"] and isinstance(place.row, Universal | Attention):
        assert place.row.layer_scale is (row["layer_scale"] == "yes")
