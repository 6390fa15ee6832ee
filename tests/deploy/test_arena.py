"""The memory plan: lifetimes by hand, no overlap ever, and sizes near the bound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.deploy.conftest import MakeGraph

from mobilenets.analysis import memory
from mobilenets.analysis.trace import trace
from mobilenets.deploy import operators as op
from mobilenets.deploy.arena import ALIGNMENT, Arena, Life, fused_plan, lifetimes, place, plan
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.deploy.quantization import Quantization
from mobilenets.exporters.lower import lower
from mobilenets.model import Model, create
from mobilenets.runtime.manifest import Manifest
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract, ModelSpec

LIVES = st.lists(st.builds(lambda a, b, size: Life(min(a, b), max(a, b), size), *[st.integers(0, 12)] * 2, st.integers(1, 400)))


@given(LIVES)
def test_values_that_are_alive_together_never_overlap(lives: list[Life]) -> None:
    named = {str(i): life for i, life in enumerate(lives)}
    offsets = place(named)
    for a, one in named.items():
        assert offsets[a] % ALIGNMENT == 0
        for b, other in named.items():
            if a < b and one.meets(other):
                assert offsets[a] + one.size_bytes <= offsets[b] or offsets[b] + other.size_bytes <= offsets[a]


@given(LIVES.filter(bool))
def test_no_arena_is_smaller_than_what_is_alive_at_once(lives: list[Life]) -> None:
    named = {str(i): life for i, life in enumerate(lives)}
    live = tuple(sum(life.size_bytes for life in lives if life.first <= i <= life.last) for i in range(13))
    arena = Arena(named, place(named), live)
    assert arena.peak_bytes <= arena.size_bytes <= sum(-(-life.size_bytes // ALIGNMENT) * ALIGNMENT for life in lives)


def test_a_value_lives_from_its_maker_to_its_last_reader(make_graph: MakeGraph) -> None:
    graph = make_graph(
        (
            op.Activation(name="a", inputs=(INPUT,), output="a", kind="relu"),
            op.Activation(name="b", inputs=("a",), output="b", kind="relu"),
            op.Add(name="sum", inputs=("a", "b"), output="sum"),
            op.Rows(name="rows", inputs=("sum",), output="rows", columns=1),
        )
    )
    lives = lifetimes(graph, number_bytes=4)
    assert lives == {INPUT: Life(-1, 0, 64), "a": Life(0, 2, 64), "b": Life(1, 2, 64), "sum": Life(2, 3, 64)}
    arena = plan(graph)
    assert arena.live_bytes == (128, 128, 192, 64)
    assert arena.size_bytes == arena.peak_bytes == 192


def test_the_peak_of_a_network_is_that_of_its_trace(network: Model, lowered: Graph) -> None:
    contract = network.spec.input
    traced = memory.plan(trace(network, (1, contract.channels, *contract.shape)))
    assert plan(lowered).peak_bytes == traced.peak_bytes


def test_v2_row_by_row_holds_the_image_the_narrow_maps_and_a_few_rows() -> None:
    spec = ModelSpec(backbone("mobilenet_v2"), ("a", "b"), InputContract(size=224))
    graph = lower(create(spec))
    assert plan(graph).peak_bytes == 4 * (96 * 112**2 + 96 * 56**2)  # V2, Table 2: block 2, depthwise
    stem, wide, row = 3 * 112 * 32, 112 * 32, 16 * 112**2  # three rows of 32 channels, one row, the narrow map
    assert fused_plan(graph).size_bytes == 4 * (3 * 224**2 + stem + wide + row)
    quantized = {name: Quantization((1.0,)) for name in graph.shapes()}
    assert fused_plan(replace(graph, quantization=quantized)).size_bytes == 3 * 224**2 + stem + wide + row


def test_squeeze_and_excite_keeps_the_map_that_it_pools(make_graph: MakeGraph) -> None:
    tensors = {"w": np.ones((8, 2, 1, 1), np.float32), "b": np.ones(8, np.float32), "d": np.ones((8, 1, 3, 3), np.float32)}
    tensors |= {"p": np.ones((2, 8, 1, 1), np.float32), "pb": np.ones(2, np.float32)}
    graph = make_graph(
        (
            op.Conv(name="expand", inputs=(INPUT,), output="expand", weight="w", bias="b", block=1),
            op.Depthwise(name="deep", inputs=("expand",), output="deep", weight="d", bias="b", padding=(1, 1, 1, 1), block=1),
            op.Pool(name="pool", inputs=("deep",), output="pool", kernel=(10, 10), block=1),
            op.Multiply(name="gated", inputs=("deep", "pool"), output="gated", block=1),
            op.Conv(name="project", inputs=("gated",), output="project", weight="p", bias="pb", block=1),
            op.Add(name="sum", inputs=(INPUT, "project"), output="sum", block=1),
            op.Activation(name="after", inputs=("sum",), output="after", kind="relu"),
        ),
        tensors,
        height=10,
        width=10,
        channels=2,
    )
    graph.check()
    lives = fused_plan(graph).lives
    rows = {name: life.size_bytes // 40 for name, life in lives.items()}  # of 10 numbers
    assert rows == {
        INPUT: 2 * 10, "expand": 8 * 3, "deep": 8 * 10, "pool": 0, "gated": 8, "project": 2, "sum": 2 * 10, "after": 2 * 10
    }  # fmt: skip
    assert {name: (life.first, life.last) for name, life in lives.items()}["deep"] == (0, 0)


@given(st.data())
def test_values_of_random_graphs_never_overlap(data: st.DataObject) -> None:
    names, operators = [INPUT], []
    for i in range(data.draw(st.integers(1, 12))):
        inputs = (data.draw(st.sampled_from(names)), data.draw(st.sampled_from(names)))
        operators.append(op.Add(name=f"{i}", inputs=inputs, output=f"{i}", block=data.draw(st.integers(-1, 2))))
        names.append(f"{i}")
    contract = InputContract(size=5, channels=1, mean=(0.5,), std=(0.5,), resize="stretch", crop=1.0)
    graph = Graph(Manifest("tiny", ("a",), contract), tuple(operators), {}, {"out": data.draw(st.sampled_from(names))})
    graph.check()
    for arena in (plan(graph), fused_plan(graph)):
        for a, one in arena.lives.items():
            for b, other in arena.lives.items():
                start, end = arena.offsets[a], arena.offsets[b]
                assert a == b or not one.meets(other) or start + one.size_bytes <= end or end + other.size_bytes <= start
        assert arena.peak_bytes <= arena.size_bytes
