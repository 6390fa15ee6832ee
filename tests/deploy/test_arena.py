"""The memory plan: lifetimes by hand, no overlap ever, and sizes near the bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.deploy.conftest import MakeGraph

from mobilenets.deploy import operators as op
from mobilenets.deploy.arena import ALIGNMENT, Arena, Life, lifetimes, place, plan
from mobilenets.deploy.graph import INPUT

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
