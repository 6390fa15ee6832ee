"""A report in the terminal: the worst mistakes by name, and as images where the terminal has colors."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from rich.style import Style

from mobilenets.cli import results


def test_an_image_becomes_half_blocks_of_its_own_colors(tmp_path: Path) -> None:
    file = tmp_path / "01.png"
    image = Image.new("RGB", (52, 52), (255, 0, 0))
    image.paste((0, 0, 255), (0, 26, 52, 52))
    image.save(file)
    text = results._blocks(file)
    lines = text.plain.splitlines()
    assert lines == ["▀" * results.COLUMNS] * (results.COLUMNS // 2)
    first, last = text.spans[0].style, text.spans[-1].style
    assert isinstance(first, Style)
    assert isinstance(last, Style)
    assert first.color is not None
    assert first.color.triplet == (255, 0, 0)
    assert last.bgcolor is not None
    assert last.bgcolor.triplet == (0, 0, 255)


def test_no_images_where_output_is_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "01.png"
    Image.new("RGB", (8, 8)).save(file)
    results._show_images([file])
    assert capsys.readouterr().out == ""
