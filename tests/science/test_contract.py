"""What holds for every reproduction, because it is listed."""

from __future__ import annotations

import csv
import math
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

from mobilenets.science.entry import Asked, Reproduction, Result
from mobilenets.science.kept import Kept, kept, read, write
from mobilenets.science.table import REPRODUCTIONS, function_of, reproduce

SLOW_MINUTES = 0.5

Made = tuple[Result, Kept, list[Path]]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=[pytest.mark.slow] * (entry.minutes > SLOW_MINUTES)) for name, entry in REPRODUCTIONS.items()
    ],
)
def made(
    request: pytest.FixtureRequest, cheap: Callable[[Reproduction], Asked], tmp_path_factory: pytest.TempPathFactory
) -> Made:
    """A reproduction at small settings, and its files."""
    name = str(request.param)
    result = reproduce(name, cheap(REPRODUCTIONS[name]))
    facts = kept(name, result, machine="test", options={})
    return result, facts, write(facts, result.figure, tmp_path_factory.mktemp(name))


def test_the_table_has_a_cell_for_every_column(made: Made) -> None:
    _, facts, _ = made
    assert facts.rows
    assert {len(row) for row in facts.rows} == {len(facts.columns)}


def test_every_figure_is_a_number_with_a_source(made: Made) -> None:
    _, facts, _ = made
    for each in facts.comparisons:
        assert math.isfinite(each.paper)
        assert math.isfinite(each.here)
        assert each.source.startswith(("V1", "V2", "V3", "V4")), each
        assert each.what


def test_something_is_said_in_whole_sentences(made: Made) -> None:
    _, facts, _ = made
    assert facts.caption.endswith(".")
    assert facts.findings or facts.comparisons
    assert all(finding.endswith(".") for finding in facts.findings)


def test_the_plot_is_a_png_and_an_svg_with_something_on_it(made: Made) -> None:
    _, _, (png, svg, _, _) = made
    data = png.read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    assert min(width, height) > 200
    assert max(width, height) < 3000
    drawn = list(ElementTree.parse(svg).getroot().iter())
    assert sum(element.tag.endswith(("}path", "}image", "}use")) for element in drawn) > 5
    assert svg.stat().st_size < 1_000_000


def test_the_csv_file_is_the_table(made: Made) -> None:
    _, facts, (_, _, path, _) = made
    with path.open(newline="", encoding="utf-8") as file:
        columns, *rows = csv.reader(file)
    assert tuple(columns) == facts.columns
    assert rows == [["" if cell is None else str(cell) for cell in row] for row in facts.rows]


def test_the_json_file_is_read_back(made: Made) -> None:
    _, facts, (*_, path) = made
    assert read(path) == facts


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_a_reproduction_is_named_after_its_paper_and_has_a_function(name: str) -> None:
    entry = REPRODUCTIONS[name]
    assert name.startswith(f"{entry.paper.lower()}-")
    assert callable(function_of(entry))
    assert not entry.what.endswith(".")
    assert len(set(entry.uses)) == len(entry.uses)
