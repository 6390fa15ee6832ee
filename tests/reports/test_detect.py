from __future__ import annotations

import csv
import html.parser
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.evaluation.detect.evaluate import DetectionReport
from mobilenets.evaluation.detect.truth import Truth
from mobilenets.reports.detect import cells, colors
from mobilenets.reports.detect import report as detect
from mobilenets.reports.write import write_report
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.detect.draw import Mark

LABELS = ("rose", "<sky> & co")


def boxes(*corners: tuple[float, float]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Squares of 100 px."""
    return np.array([(x, y, x + 100, y + 100) for x, y in corners], np.float32).reshape(-1, 4)


def report_of(labels: tuple[str, ...] = LABELS, images: int = 3) -> DetectionReport:
    """In each image a rose is found, another is taken for sky, a third is missed, and a rose is seen where nothing is."""
    found = Detections(labels, boxes((0, 0), (200, 0), (400, 400)), np.array([0.9, 0.8, 0.7], np.float32), np.array([0, 1, 0]))
    clear = np.zeros(3, np.bool_)
    truth = Truth(boxes((0, 0), (200, 0), (600, 200)), np.array([0, 0, 0]), clear, clear)
    names = tuple(f"garden {i}.png" for i in range(images))
    return DetectionReport(
        "mobilenet_v2",
        labels,
        names,
        ((found, truth),) * images,
        (0.5,) * len(labels),
        False,
        (("bad.png", "is truncated"),),
        2.0,
    )


def read_image(name: str) -> bytes:
    if name == "gone":
        raise FileNotFoundError
    buffer = io.BytesIO()
    Image.new("RGB", (800, 600), "white").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_report(report_of(), folder, read_image=read_image, title="Gardens <1>", next_command="mobilenets predict x", worst=2)
    return folder


def test_the_folder_holds_every_format_plot_and_image(written: Path) -> None:
    found = sorted(str(path.relative_to(written)) for path in written.rglob("*") if path.is_file())
    assert found == [
        "mistakes/01.jpg",
        "mistakes/02.jpg",
        "per_image.npz",
        "plots/classes.png",
        "plots/confusion.png",
        "plots/f1.png",
        "plots/precision_recall.png",
        "plots/scores.png",
        "predictions.csv",
        "report.html",
        "report.json",
        "report.md",
    ]


def test_the_page_is_well_formed_escaped_and_needs_nothing_outside(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    html.parser.HTMLParser().feed(text)
    assert "<sky>" not in text
    assert "&lt;sky&gt; &amp; co" in text
    assert text.count("data:image/jpeg") == 2 + 4 * 3  # mistakes, and three images behind each of four cells
    assert text.count("<script") == 1  # its own
    for part in ("mAP50", "bad.png", "mobilenets predict x", "1 false positive, 1 of another class, 1 miss", "1 of 3 objects"):
        assert part in text


def test_json_holds_metrics_classes_curves_and_confusion(written: Path) -> None:
    data = json.loads((written / "report.json").read_text(encoding="utf-8"))
    report = report_of()
    assert data["metrics"].keys() == {metric.name for metric in report.metrics}
    assert data["metrics"]["map50"]["value"] == report.metric("map50").value
    assert data["thresholds"] == "of the model"
    assert {"truth": None, "predicted": "rose", "count": 3} in data["confusion"]
    assert {"truth": "rose", "predicted": None, "count": 3} in data["confusion"]
    assert data["classes"][1]["ap"] is None  # no sky is there
    assert data["classes"][0]["curve"][0] == [pytest.approx(0.9), 1, pytest.approx(1 / 3, abs=1e-4)]
    assert data["worst"][0] == {"name": "garden 0.png", "false": 1, "confused": 1, "missed": 1, "right": 1}


def test_predictions_are_a_line_per_detection_and_per_miss() -> None:
    rows = list(csv.DictReader(io.StringIO(detect.csv_text(report_of(images=1)))))
    assert [(row["label"], row["verdict"], row["truth"]) for row in rows] == [
        ("rose", "right", "rose"),
        ("<sky> & co", "other class", "rose"),
        ("rose", "false", ""),
        ("", "missed", "rose"),
    ]
    assert [rows[3][edge] for edge in ("x0", "y0", "x1", "y1")] == ["600.00", "200.00", "700.00", "300.00"]


def test_mistakes_are_drawn_in_their_colors(written: Path) -> None:
    with Image.open(written / "mistakes" / "01.jpg") as image:
        assert image.size == (800, 600)
        pixels = np.asarray(image.convert("RGB")).astype(int)
    for color, (x, y) in (
        (colors.RIGHT, (1, 50)),
        (colors.OTHER, (201, 80)),
        (colors.WRONG, (401, 460)),
        (colors.MISSED, (601, 205)),
    ):
        near = pixels[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3)
        assert np.abs(near - color).sum(axis=1).min() < 90, color


def test_a_cell_of_the_matrix_opens_its_boxes(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    places = set(re.findall(r'href="#confusion-(cell-\d-\d)"', text))
    assert places == {"cell-0-0", "cell-0-1", "cell-0-2", "cell-2-0"}
    assert places == set(re.findall(r'id="confusion-(cell-\d-\d)"', text))
    for words in (
        "rose, detected right",
        "rose, detected as &lt;sky&gt; &amp; co",
        "rose, missed",
        "background, detected as rose",
        "3 detections",
        "3 objects",
        "100 x 100 px",
        "80.0%",
        "Select a cell to see its images, at most 3.",
    ):
        assert words in text


def test_boxes_behind_a_cell_are_cut_out_in_their_colors(tmp_path: Path) -> None:
    found = cells.cells_of(report_of(images=8), read_image)
    assert [(cell.title, cell.note, len(cell.shown)) for cell in found] == [
        ("rose, detected right", "8 detections, the 6 most confident", 6),
        ("rose, detected as <sky> & co", "8 detections, the 6 most confident", 6),
        ("rose, missed", "8 objects, the 6 largest", 6),
        ("background, detected as rose", "8 detections, the 6 most confident", 6),
    ]
    expected = (colors.RIGHT, colors.OTHER, colors.MISSED, colors.WRONG)
    for cell, color, corner in zip(found, expected, ((0, 0), (30, 0), (30, 30), (30, 30)), strict=True):
        with Image.open(io.BytesIO(cell.shown[0].jpeg)) as image:
            assert image.size == (160, 160)  # of 160 px around the box
            pixels = np.asarray(image.convert("RGB")).astype(int)
        x, y = corner
        edge = pixels[y + 40 : y + 60, x : x + 3].reshape(-1, 3)
        assert np.abs(edge - color).sum(axis=1).min() < 120, cell.title
        assert (pixels[150:, 150:] > 240).all()


def test_a_box_at_the_edge_is_cut_out_inside_the_image() -> None:
    image = Image.new("RGB", (300, 50), "white")
    part = cells._cut_out(image, marks=(Mark((200.0, 0.0, 300.0, 50.0), "", colors.WRONG),))
    assert part.size == (160, 50)
    small = cells._cut_out(Image.new("RGB", (4, 2), "white"), marks=(Mark((1.0, 1.0, 2.0, 2.0), "", colors.WRONG),))
    assert small.size == (160, 80)


def test_without_images_no_cell_opens(tmp_path: Path) -> None:
    text = write_report(report_of(), tmp_path, read_image=read_image, worst=0).read_text(encoding="utf-8")
    assert 'href="#confusion-cell' not in text
    assert "Select a cell" not in text


def test_markdown_has_every_class_and_links_that_exist(written: Path) -> None:
    text = (written / "report.md").read_text(encoding="utf-8")
    assert "| rose | 33.7% | 33.7% | 0.50 | 50.0% | 33.3% | 40.0% | 9 |" in text  # precision 1 at 34 of 101 recalls
    assert "![](mistakes/01.jpg)" in text


def test_a_flawless_detector_has_no_mistakes_to_show(tmp_path: Path) -> None:
    found = Detections(("rose",), boxes((0, 0)), np.array([0.9], np.float32), np.array([0]))
    clear = np.zeros(1, np.bool_)
    report = DetectionReport("m", ("rose",), ("x",), ((found, Truth(boxes((0, 0)), np.array([0]), clear, clear)),))
    text = write_report(report, tmp_path, read_image=read_image).read_text(encoding="utf-8")
    assert "None: every object was found, and nothing else." in text


def test_many_classes_get_plots_too(tmp_path: Path) -> None:
    report = report_of(tuple(f"kind {i}" for i in range(90)), images=1)
    write_report(report, tmp_path, read_image=read_image, worst=0)
    assert (tmp_path / "plots" / "classes.png").is_file()


def test_the_subtitle_counts_objects_and_classes_that_occur() -> None:
    assert detect.subtitle(report_of()) == "mobilenet_v2 on 3 images with 9 objects of 1 of 2 classes, 1 not readable"
