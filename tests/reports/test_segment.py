from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.evaluation.segment.evaluate import Compared, SegmentationReport
from mobilenets.evaluation.segment.tiles import Tile
from mobilenets.reports.segment import cells
from mobilenets.reports.segment import report as segment
from mobilenets.reports.write import write_report

COLORS = ((0, 0, 0), (200, 0, 0), (0, 0, 200))
CORNER = np.array([[True, False], [False, False]])


def image(_: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (90, 90, 90)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def report() -> SegmentationReport:
    """Two images of two of three classes; in the second a tenth of the road is taken for sky."""
    support = np.array([[100, 0, 0], [60, 40, 0]])
    hits = np.array([[100, 0, 0], [60, 30, 0]])
    called = np.array([[100, 0, 0], [70, 30, 0]])
    truth = np.zeros((30, 40), np.uint8)
    truth[15:] = 1
    truth[:, :4] = 255
    return SegmentationReport(
        model="mobilenet_v2",
        labels=("sky", "road | street", "car"),
        colors=COLORS,
        names=("a.png", "b <1>.png"),
        hits=hits,
        support=support,
        called=called,
        confusion=np.array([[160, 0, 0], [10, 30, 0], [0, 0, 0]]),
        boundary_f=np.array([[np.nan] * 3, [0.5, 0.25, np.nan]]),
        kept={"b <1>.png": Compared(truth, np.zeros_like(truth))},
        tiles={
            (0, 0): (Tile("a.png", 100, (0, 0, 20, 20), CORNER), Tile("b <1>.png", 60, (0, 0, 20, 20), CORNER)),
            (1, 0): (Tile("b <1>.png", 10, (20, 10, 40, 30), CORNER),),
            (1, 1): (Tile("b <1>.png", 30, (20, 10, 40, 30), CORNER),),
        },
        unreadable=(("c.png", "is empty"),),
        seconds=0.5,
    )


def test_a_report_is_written_whole(report: SegmentationReport, tmp_path: Path) -> None:
    page = write_report(report, tmp_path / "report", read_image=image, worst=2, next_command="mobilenets predict x y")
    html = page.read_text(encoding="utf-8")
    for text in (
        "mean IoU",
        "b &lt;1&gt;.png",
        "road | street",
        "Most often confused",
        "25.0%",
        "is empty",
        "4 images a second",
    ):
        assert text in html
    data = json.loads((tmp_path / "report/report.json").read_text(encoding="utf-8"))
    assert data["metrics"]["miou"]["value"] == pytest.approx((160 / 170 + 30 / 40) / 2)
    assert data["classes"][2]["iou"] is None
    assert data["confusion"][1] == {"truth": "road | street", "predicted": "sky", "pixels": 10}
    assert data["worst"][0]["name"] == "b <1>.png"
    with (tmp_path / "report/predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[1]["iou sky"] == "0.8571"
    assert rows[0]["iou car"] == ""
    assert {path.name for path in (tmp_path / "report/plots").iterdir()} == {"classes.png", "confusion.png", "images.png"}
    assert "road \\| street" in (tmp_path / "report/report.md").read_text(encoding="utf-8")


def test_a_cell_of_the_matrix_opens_the_images_with_the_most_of_its_pixels(report: SegmentationReport, tmp_path: Path) -> None:
    text = write_report(report, tmp_path / "report", read_image=image).read_text(encoding="utf-8")
    places = re.findall(r'id="confusion-(cell-\d-\d)"', text)
    assert places == ["cell-0-0", "cell-1-0", "cell-1-1"]
    assert set(re.findall(r'href="#confusion-(cell-\d-\d)"', text)) == set(places)
    for words in (
        "sky, predicted right",
        "160 pixels, the 2 images with the most",
        "road | street, predicted as sky",
        "10 pixels, the image with the most",
        "60 px",
        "Select a cell to see its images, at most 2.",
    ):
        assert words in text
    colors = {cell.title: cell.shown[0].jpeg for cell in cells.cells_of(report, image)}
    for title, color in (("sky, predicted right", cells.RIGHT), ("road | street, predicted as sky", cells.WRONG)):
        with Image.open(io.BytesIO(colors[title])) as drawn:
            assert drawn.size == (160, 160)
            pixels = np.asarray(drawn.convert("RGB")).astype(float)
        expected = 0.6 * np.array(color) + 0.4 * 90
        assert np.abs(pixels[40, 40] - expected).max() < 12
        assert np.abs(pixels[120, 120] - 90).max() < 12


def test_a_worst_image_shows_photo_mistakes_truth_and_prediction(report: SegmentationReport) -> None:
    photo = Image.new("RGB", (40, 30), (90, 90, 90))
    drawn = segment.panels(photo, compared=report.kept["b <1>.png"], colors=COLORS)
    assert drawn.size == (80, 60)
    pixels = np.asarray(drawn).astype(int)
    assert pixels[20, 20].tolist() == [90, 90, 90]
    assert np.abs(pixels[20, 60] - (0.75 * np.array(segment.wrong_color(COLORS)) + 0.25 * 90)).max() <= 1
    assert pixels[20, 41].tolist() == [90, 90, 90]  # ignored is not wrong
    assert pixels[50, 20].tolist() == [200, 0, 0]
    assert pixels[50, 60].tolist() == [0, 0, 0]


def test_the_command_line_gets_classes_and_worst_images(report: SegmentationReport) -> None:
    brief = segment.brief(report, 1)
    assert brief.worst.rows == (("b <1>.png", "80.4%", "90.0%"),)
    assert [row[:4] for row in brief.tables[0].rows] == [
        ("sky", "94.1%", "100.0%", "94.1%"),
        ("road | street", "75.0%", "75.0%", "100.0%"),
    ]
