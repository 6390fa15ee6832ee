"""The papers' cost formulas, against single layers and blocks as they run."""

from __future__ import annotations

import pytest
import torch

from mobilenets.analysis.layers import LayerGraph
from mobilenets.analysis.trace import trace
from mobilenets.net.backbone import Backbone
from mobilenets.specs.families import backbone
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv, Row, Separable, places


def run(row: Row, c_in: int, size: int) -> LayerGraph:
    """One row on its own."""
    with torch.device("meta"):
        network = Backbone(BackboneSpec("one_row", (row,), in_channels=c_in))
    return trace(network, (1, c_in, size, size))


@pytest.mark.parametrize(
    ("row", "c", "size", "millions", "params"),
    [
        (Conv(512, kernel=3), 512, 14, 462.4, 2.36),
        (Separable(512), 512, 14, 52.3, 0.27),
        (Separable(384), 384, 14, 29.6, 0.15),  # alpha 0.75
        (Separable(384), 384, 10, 15.1, 0.15),  # and rho 0.714
    ],
)
def test_v1_table_3(row: Row, c: int, size: int, millions: float, params: float) -> None:
    graph = run(row, c, size)
    assert (round(graph.macs / 1e6, 1), round(graph.params / 1e6, 2)) == (millions, params)


@pytest.mark.parametrize(("n", "k"), [(64, 3), (512, 3), (1024, 5)])
def test_a_separable_convolution_costs_1_nth_and_1_k2th_of_a_full_one(n: int, k: int) -> None:
    """V1, section 3.1."""
    share = run(Separable(n, kernel=k), 32, 14).macs / run(Conv(n, kernel=k), 32, 14).macs
    assert share == pytest.approx(1 / n + 1 / k**2)


def test_every_v2_block_costs_h_w_d_t_times_d_plus_k2_plus_d() -> None:
    """V2, section 3.3, for the blocks of stride 1; under stride the expansion runs on the larger map."""
    spec = backbone("mobilenet_v2")
    with torch.device("meta"):
        graph = trace(Backbone(spec), (1, 3, 224, 224))
    checked, size = 0, 224
    for i, place in enumerate(places(spec)):
        row, d, size_in = place.row, place.c_in, size
        size //= place.stride
        if not isinstance(row, Bottleneck) or row.c_expand == d:
            continue
        t, k = row.c_expand // d, row.kernel
        macs = sum(layer.macs for layer in graph.layers if layer.block == i)
        if place.stride == 1:
            assert macs == size * size * d * t * (d + k**2 + row.c_out)
        else:
            assert macs == d * t * (size_in * size_in * d + size * size * (k**2 + row.c_out))
        checked += 1
    assert checked == 16
