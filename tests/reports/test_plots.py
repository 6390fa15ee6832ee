"""The plots of a report: their colors can be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mobilenets import reports
from mobilenets.reports import plots

READABLE = 4.5
"""Contrast of text, WCAG 1.4.3."""


def _colors(scheme: str) -> dict[str, tuple[int, int, int]]:
    """The page's colors by day or by night."""
    css = (Path(reports.__file__).parent / "page.css").read_text()
    day, night, *_ = re.findall(r":root {(.*?)}", css, re.DOTALL)
    found = re.findall(r"--(\w+): #(\w{6})", day if scheme == "light" else night)
    return {name: (int(color[:2], 16), int(color[2:4], 16), int(color[4:], 16)) for name, color in found}


def _light(color: tuple[float, ...]) -> float:
    """Relative luminance, as WCAG defines it."""
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in (v / 255 for v in color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("fill", ["accent", "wrong"])
@pytest.mark.parametrize("strength", [0.0, 0.56, 1.0])
def test_the_number_in_a_cell_of_a_matrix_can_be_read(scheme: str, fill: str, strength: float) -> None:
    colors = _colors(scheme)
    alpha = plots.DEPTH * strength
    ground = tuple(alpha * a + (1 - alpha) * b for a, b in zip(colors[fill], colors["surface"], strict=True))
    low, high = sorted((_light(ground), _light(colors["ink"])))
    assert (high + 0.05) / (low + 0.05) >= READABLE


def test_numbers_and_cells_of_a_matrix_have_these_colors() -> None:
    np = pytest.importorskip("numpy")
    pytest.importorskip("matplotlib")
    from matplotlib.colors import to_hex
    from matplotlib.patches import Rectangle

    counts = np.array([[9, 0], [3, 6]])
    figure = plots.confusion(counts, counts / 9, ["a", "b"], ["a", "b"])
    axes = figure.axes[0]
    assert {to_hex(str(text.get_color())) for text in axes.texts} == {plots.INK}
    cells = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [round(cell.get_alpha() or 0, 3) for cell in cells] == [plots.DEPTH, 0, 0.183, 0.367]
