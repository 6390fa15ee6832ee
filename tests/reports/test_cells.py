"""The cells of a matrix that open: how many, how many images each shows, and how large the page can become."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.reports.test_write import report_of

from mobilenets.reports import cells
from mobilenets.reports.page import Cell, Shown
from mobilenets.reports.write import write_report


@pytest.mark.parametrize(
    ("classes", "opened", "each"),
    [(2, 4, 6), (5, 25, 6), (10, 100, 2), (14, 196, 1), (20, 200, 1), (21, 0, 0)],
)
def test_images_are_shared_out_among_the_fullest_cells(classes: int, opened: int, each: int) -> None:
    counts = np.arange(1, classes * classes + 1).reshape(classes, classes)
    asked: list[int] = []

    def behind(i: int, j: int, most: int) -> tuple[str, list[Shown]]:
        asked.append(most)
        return "", [Shown(f"{i} {j}", (), b"")] * most

    found = list(cells.cells(counts, lambda i, j: f"{i} {j}", behind))
    assert len(found) == opened
    assert set(asked) == ({each} if opened else set())
    assert [cell.place for cell in found] == sorted(cell.place for cell in found)
    assert sorted(counts[cell.place] for cell in found) == list(range(classes**2 - opened + 1, classes**2 + 1))
    assert sum(len(cell.shown) for cell in found) <= cells.MOST_OF_CELLS


def test_the_caption_says_which_cells_open_and_how_much_they_show() -> None:
    one = Cell((0, 0), "", "", (Shown("a", (), b""),))
    assert cells.how_to_open(np.eye(2, dtype=np.int64), [one, one]) == " Select a cell to see its images, at most 1."
    assert "one of the 2 fullest cells" in cells.how_to_open(np.ones((2, 2), np.int64), [one, one])
    assert cells.how_to_open(np.ones((2, 2), np.int64), []) == ""


def test_a_page_stays_small_however_many_cells_and_however_noisy_the_images(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", quality=95)
    report = report_of(classes=20, samples=6000)
    assert np.count_nonzero(report.confusion) > cells.MOST_OF_CELLS
    alone = write_report(report, tmp_path / "a", read_image=lambda _: buffer.getvalue(), worst=1)
    text = alone.read_text(encoding="utf-8")
    assert text.count('class="card cell"') == cells.MOST_OF_CELLS
    assert "Select one of the 200 fullest cells" in text
    assert len(text) < 5_000_000
