from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mobilenets.analysis.trace import trace
from mobilenets.deploy.graph import INPUT
from mobilenets.deploy.reference import run
from mobilenets.errors import UsageError
from mobilenets.exporters.lower import lower
from mobilenets.model import create
from mobilenets.search.costs import Costs, check_budget
from mobilenets.search.devices import Here, Measures
from mobilenets.search.latency import LatencyTable
from mobilenets.search.pieces import pieces
from mobilenets.search.telling import Telling, measure
from mobilenets.specs.deeplab import deeplab
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract, ModelSpec
from mobilenets.specs.ssd import ssdlite

NETWORKS = ("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v4_hybrid_medium", "mobilenet_v2_resnet")


def _spec(name: str, *, width: float = 0.25, size: int = 64) -> ModelSpec:
    return ModelSpec(backbone(name, width=width), ("a", "b"), InputContract(size=size))


@pytest.mark.parametrize("name", NETWORKS)
def test_pieces_one_after_the_other_are_the_network(name: str) -> None:
    graph = lower(create(_spec(name), seed=4).eval())
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).numpy()
    (expected,) = run(graph, x).values()
    value = x
    for piece in pieces(graph):
        piece.graph.check()
        (value,) = run(piece.graph, value).values()
    assert value == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_costs_of_blocks_add_up_to_what_the_module_counts(name: str) -> None:
    spec, costs = _spec(name), Costs()
    layers = trace(create(spec), (1, 3, 64, 64))
    assert costs.macs(spec) == pytest.approx(layers.macs / 1e6, rel=1e-3)  # attention's norm is a multiplication there
    weights = sum(tensor.size for tensor in lower(create(spec)).tensors.values())
    assert costs.mb(spec) == pytest.approx(4 * weights / 1e6)


@pytest.mark.parametrize(
    "spec",
    [
        *map(_spec, NETWORKS),
        ssdlite(backbone("mobilenet_v2", width=0.35), ("a", "b"), size=96),
        deeplab(backbone("mobilenet_v2", width=0.35), ("a", "b"), size=65),  # dilated, at an odd size
    ],
    ids=lambda spec: f"{spec.backbone.name}-{spec.task}",
)
def test_blocks_built_alone_are_those_of_the_network(spec: ModelSpec) -> None:
    assert sorted(part.key for part in Costs().parts(spec)) == sorted(piece.key for piece in pieces(lower(create(spec))))


def test_pieces_that_another_network_has_too_are_measured_once(device: Measures) -> None:
    costs = Costs(LatencyTable(device.device), device)
    one = _spec("mobilenet_v2")
    assert costs.learn([one]) == len({part.key for part in costs.parts(one)})
    first = len(costs.table.ms) if costs.table else 0
    other = replace(one, backbone=replace(one.backbone, rows=one.backbone.rows[:-1]))
    assert costs.learn([other]) == 1  # what follows the last row
    assert costs.learn([one, other]) == 0
    assert costs.table is not None
    assert len(costs.table.ms) == first + 1


def test_the_first_pieces_of_a_device_are_told_as_they_can_take_minutes(device: Measures) -> None:
    costs = Costs(LatencyTable(device.device), device)
    said: list[str] = []
    telling = Telling(said=said.append)
    one, other = _spec("mobilenet_v2"), _spec("mobilenet_v2", size=32)
    measure(costs, [one], telling)
    measure(costs, [one, other], telling)
    assert costs.table is not None
    assert said == [f"measuring the first {len({part.key for part in costs.parts(one)})} pieces on a board"]


def test_a_whole_network_that_was_measured_is_known_again(device: Measures) -> None:
    costs = Costs(LatencyTable(device.device), device)
    spec = _spec("mobilenet_v2")
    assert costs.measured_ms(spec) is None
    (measured,) = costs.check([spec])
    assert costs.measured_ms(spec) == measured == pytest.approx(1e6 / 4 * costs.mb(spec))
    assert costs.measured_ms(_spec("mobilenet_v2", size=32)) is None


def test_this_machine_measures_larger_pieces_as_slower() -> None:
    costs = Costs()
    small, large = (costs.parts(_spec("mobilenet_v1", size=size))[3].graph() for size in (32, 128))
    one, sixteen = Here("onnx", rounds=3, seconds=0.002).latencies_ms([small, large])
    assert 0 < one < sixteen
    assert small.shapes()[INPUT] != large.shapes()[INPUT]


@pytest.mark.parametrize("budget", [{}, {"ms": 0.0}, {"ms": -1.0}, {"mb": float("nan")}, {"macs": float("inf")}])
def test_a_budget_that_no_network_has_is_refused(budget: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        check_budget(budget)
