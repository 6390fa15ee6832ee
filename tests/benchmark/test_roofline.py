"""The picture of the roofline: bytes by hand, and the table read back."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilenets.deploy import operators as op
from mobilenets.deploy.graph import INPUT, Graph
from mobilenets.runtime.manifest import Manifest
from mobilenets.specs.model import InputContract

ROOT = Path(__file__).parents[2]
PRINTED = """
int8: 100 GMAC/s, float32: 20 GMAC/s
| block | MMAC | int8, µs | share | float32, µs | share |
|---|---|---|---|---|---|
| 0, with the image | 3.0 | 60 | 50% | 1,500 | 10% |
| pool and classes | 1.0 | 100 | 10% | 100 | 50% |
| all | 4.0 | 160 | 25% | 1,600 | 13% |
| another table | 1 |
"""


@pytest.fixture
def plot(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, which lies with the benchmarks."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("roofline_plot")


@pytest.fixture
def graph() -> Graph:
    """A block of two convolutions, from 3 to 8 to 4 channels at 10 px, and a pool outside of it."""
    wide = op.Conv(name="wide", inputs=(INPUT,), output="wide", weight="w", bias="b", block=0)
    narrow = op.Conv(name="narrow", inputs=("wide",), output="narrow", weight="v", bias="c", block=0)
    pool = op.Pool(name="pool", inputs=("narrow",), output="pool", kernel=(10, 10))
    shapes = {"w": (8, 3, 1, 1), "b": (8,), "v": (4, 8, 1, 1), "c": (4,)}
    tensors = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    manifest = Manifest("m", ("0",), InputContract(size=10))
    return Graph(manifest, (wide, narrow, pool), tensors, {"result": "pool"})


def test_a_block_moves_its_weights_and_its_ends_but_no_map_inside(plot: Any, graph: Graph) -> None:
    weights, image, narrow, pooled = 24 + 8 + 32 + 4, 3 * 100, 4 * 100, 4
    assert plot.moved(graph, 1) == {0: weights + 4 * image + narrow, -1: narrow + pooled}
    assert plot.moved(graph, 4) == {0: 4 * (weights + image + narrow), -1: 4 * (narrow + pooled)}


def test_the_printed_table_is_read_and_drawn_with_a_dot_for_each_block(plot: Any, graph: Graph) -> None:
    columns = plot.read_columns(PRINTED)
    assert {precision: peak for precision, (_, peak) in columns.items()} == {"int8": 100e9, "float32": 20e9}
    assert columns["int8"][0] == {0: pytest.approx((3e6, 60e-6)), -1: pytest.approx((1e6, 100e-6))}
    assert columns["float32"][0][0] == pytest.approx((3e6, 1500e-6))
    figure = plot.drawn(columns, graph)
    for axes, (made, peak) in zip(figure.axes, columns.values(), strict=True):
        slanted, flat, dots = axes.lines
        assert len(dots.get_xdata()) == len(made)
        assert set(flat.get_ydata()) == {peak / 1e9}
        assert slanted.get_ydata()[1] == peak / 1e9
        for x, y in zip(dots.get_xdata(), dots.get_ydata(), strict=True):
            assert y <= x * slanted.get_ydata()[0] / slanted.get_xdata()[0] * 1.001


def test_the_table_of_the_documentation_is_read(plot: Any) -> None:
    columns = plot.read_columns((ROOT / "docs" / "concepts" / "native_engine.md").read_text(encoding="utf-8"))
    assert list(columns) == ["int8", "bfloat16", "float32"]
    for made, peak in columns.values():
        assert list(made) == [*range(19), -1]
        assert peak > 1e11
    with pytest.raises(ValueError, match="no table"):
        plot.read_columns("int8: 100 GMAC/s")
