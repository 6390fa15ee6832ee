from __future__ import annotations

from dataclasses import replace

import pytest

from mobilenets.search.costs import Costs
from mobilenets.search.ladder import ladder, multiplied, resampled
from mobilenets.search.telling import Telling
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract, ModelSpec


def _spec(name: str = "mobilenet_v2", *, width: float = 1.0, size: int = 96) -> ModelSpec:
    return ModelSpec(backbone(name, width=width), ("a", "b"), InputContract(size=size))


def test_each_rung_is_the_widest_that_fits_at_its_size() -> None:
    costs, start = Costs(), _spec()
    most = 0.5 * costs.macs(start)
    rungs = ladder(start, {"macs": most}, costs, Telling())
    assert [rung.spec.input.size for rung in rungs] == [96, 80, 72, 64, 48]  # 84 and 60 become multiples of 8
    for rung in rungs:
        assert costs.macs(rung.spec) <= most
        if rung.width < 1:
            wider = replace(rung.spec, backbone=multiplied(start.backbone, rung.width + 0.05))
            assert costs.macs(wider) > most


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v4_conv_small"])
def test_a_network_of_the_papers_is_narrowed_by_its_papers_rule(name: str) -> None:
    assert multiplied(backbone(name), 0.5).rows == backbone(name, width=0.5).rows


def test_another_network_is_narrowed_axis_by_axis(spec: ModelSpec) -> None:
    assert [row.c_out for row in multiplied(spec.backbone, 0.5).rows] == [8, 16, 16, 16, 48]  # 12 is more than 10% above 8


def test_a_size_that_never_fits_is_left_out() -> None:
    costs, start = Costs(), _spec(width=0.35)
    assert ladder(start, {"mb": 1e-4}, costs, Telling()) == []


def test_inputs_that_are_not_square_keep_their_proportions() -> None:
    contract = InputContract(size=96, resize="stretch", crop=1.0, wide=192)
    spec = replace(_spec(), input=contract)
    assert resampled(spec, 0.5).input.shape == (48, 96)
