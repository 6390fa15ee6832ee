from __future__ import annotations

import base64
import csv
import hashlib
import html.parser
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilenets.evaluation.classify.evaluate import Report
from mobilenets.reports.write import write_report

LABELS = ("sound", "<cracked> & co")


def report_of(classes: int = 2, samples: int = 60, labels: tuple[str, ...] = ()) -> Report:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, classes, samples)
    logits = generator.normal(size=(samples, classes)).astype(np.float32)
    logits[np.arange(samples), truth] += 1.5
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = tuple(f"cell {i}.png" for i in range(samples))
    labels = labels or tuple(f"kind {i}" for i in range(classes))
    return Report("mobilenet_v2", labels, names, truth, logits, scores, 1.0, (("bad.png", "the image is truncated"),), 2.0)


def read_image(name: str) -> bytes:
    if name == "gone":
        raise FileNotFoundError
    buffer = io.BytesIO()
    Image.new("RGB", (900, 600), "teal").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    history = folder / "metrics.csv"
    history.write_text("epoch,train_loss,val_accuracy,images_per_second\n1,2.0,,9\n2,1.0,0.5,9\n")
    write_report(
        report_of(labels=LABELS),
        folder / "new" / "report",
        read_image=read_image,
        title="Cells <1>",
        context={"Recipe": {"epochs": 30, "rates": [0.1, 0.01]}},
        history=history,
        next_command="mobilenets train photos/ --out 'my run'",
        worst=3,
    )
    return folder / "new" / "report"


class Page(html.parser.HTMLParser):
    """Collects tags, links and ids; complains of tags that do not close."""

    VOID = frozenset(("meta", "img", "br", "link", "input"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for key, value in attrs:
            if key in ("src", "href", "xlink:href") and value:
                self.sources.append(value)
            if key == "id" and value:
                self.ids.append(value)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(written: Path) -> Page:
    parser = Page()
    parser.feed((written / "report.html").read_text(encoding="utf-8"))
    return parser


def test_the_folder_holds_every_format_plot_and_image(written: Path) -> None:
    found = sorted(str(path.relative_to(written)) for path in written.rglob("*") if path.is_file())
    assert found == [
        "examples/01.jpg",
        "examples/02.jpg",
        "examples/03.jpg",
        "mistakes/01.jpg",
        "mistakes/02.jpg",
        "mistakes/03.jpg",
        "per_image.npz",
        "plots/confusion.png",
        "plots/curves.png",
        "plots/reliability.png",
        "plots/roc.png",
        "plots/scores.png",
        "predictions.csv",
        "report.html",
        "report.json",
        "report.md",
    ]


def test_the_page_needs_nothing_outside_itself(page: Page) -> None:
    assert all(source.startswith(("data:", "#")) for source in page.sources)
    behind_cells = sum(name.startswith("confusion-cell-") for name in page.ids)
    assert behind_cells == 4
    assert sum(source.startswith("data:image/jpeg") for source in page.sources) == 3 + 3 + 6 * behind_cells
    assert not page.tags & {"link", "iframe"}


def test_the_page_is_well_formed_and_its_ids_are_its_own(page: Page) -> None:
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert {source[1:] for source in page.sources if source.startswith("#")} <= set(page.ids)


def test_the_page_runs_no_script_but_its_own(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text
    assert "javascript:" not in text


def test_cells_of_the_confusion_matrix_link_to_their_images(page: Page) -> None:
    links = {source[1:] for source in page.sources if source.startswith("#confusion-cell-")}
    assert links == {name for name in page.ids if name.startswith("confusion-cell-")}


def test_what_strangers_wrote_is_shown_literally_everywhere(tmp_path: Path) -> None:
    """A file name and labels with HTML, Markdown, formulas, control characters, and bytes that are not UTF-8."""
    evil = "<img src=x onerror=alert(1)>|`**\x1b[31m\n\u2028\u202e\udcff.png"
    labels = ("=cmd|' /C calc'!A0", "$x_1$ [a](javascript:b)")
    logits = np.array([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0]], np.float32)
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    report = Report("m", labels, (evil, "b", "c"), np.array([1, 0, 1]), logits, scores, 1.0)
    write_report(report, tmp_path / "out", read_image=read_image, title=evil, context={"Run": {evil: evil}})
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<img src=x" not in html
    markdown = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    rows = (tmp_path / "out" / "predictions.csv").read_text(encoding="utf-8")
    for text in (html, markdown, rows):
        assert not set(text) & set("\x1b\u2028\u202e")
    outside_code = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", markdown)
    assert not re.search(r"(?<!\\)<img", outside_code)
    assert "[a](javascript" not in markdown
    cells = list(csv.reader(io.StringIO(rows)))
    assert not any(cell.startswith(("=", "+", "@")) for row in cells for cell in row)
    assert len(rows.splitlines()) == 4
    names = json.loads((tmp_path / "out" / "report.json").read_bytes())["worst"]
    assert names[0]["name"] == evil


def test_a_folder_with_other_things_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "mistakes").mkdir()
    (tmp_path / "mistakes" / "99.jpg").write_bytes(b"old")
    page = write_report(report_of(), tmp_path, read_image=read_image, worst=1)
    assert page.is_file()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert [path.name for path in (tmp_path / "mistakes").iterdir()] == ["01.jpg"]


def test_a_report_that_fails_leaves_the_older_one_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "report"
    write_report(report_of(), folder, read_image=read_image, worst=1)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mobilenets.reports.write._arrays", full)  # the last file that is written
    with pytest.raises(OSError, match="No space"):
        write_report(report_of(3), folder, read_image=read_image, worst=4)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_labels_and_titles_are_escaped(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    assert "<cracked>" not in text
    assert "&lt;cracked&gt; &amp; co" in text
    assert "<title>Cells &lt;1&gt;</title>" in text


def test_the_page_says_what_was_found_and_what_to_do_next(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    for part in ("95% confidence", "bad.png", "the image is truncated", "mobilenets train photos/ --out", "0.1, 0.01"):
        assert part in text


def test_plots_follow_the_colors_of_the_page(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    svg = text[text.index("<svg") : text.index("</svg>")]
    assert "var(--ink)" in svg
    assert not re.search(r"(fill|stroke): #(?!ffffff)", svg)


def test_json_holds_every_metric_with_its_interval(written: Path) -> None:
    data = json.loads((written / "report.json").read_text(encoding="utf-8"))
    report = report_of(labels=LABELS)
    assert data["metrics"].keys() == {metric.name for metric in report.metrics}
    top1 = report.metric("top1")
    assert top1.interval
    found = data["metrics"]["top1"]
    assert (found["value"], found["low"], found["high"]) == (top1.value, top1.interval.low, top1.interval.high)
    assert sum(cell["count"] for cell in data["confusion"]) == 60
    assert data["unreadable"] == [{"name": "bad.png", "error": "the image is truncated"}]


def test_predictions_are_a_line_per_image(written: Path) -> None:
    with (written / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    report = report_of(labels=LABELS)
    assert len(rows) == 60
    assert sum(int(row["correct"]) for row in rows) / 60 == report.metric("top1").value
    assert {row["truth"] for row in rows} == set(LABELS)


def test_markdown_shows_table_plots_and_images_that_exist(written: Path) -> None:
    text = (written / "report.md").read_text(encoding="utf-8")
    assert "| top-1 accuracy |" in text
    links = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert len(links) == 5 + 3 + 3
    assert all((written / link).is_file() for link in links)


def test_images_of_mistakes_are_small(written: Path) -> None:
    with Image.open(written / "mistakes" / "01.jpg") as image:
        assert image.size == (480, 320)


def test_a_second_report_leaves_no_image_of_the_first(written: Path, tmp_path: Path) -> None:
    report = report_of()
    for worst in (4, 1):
        write_report(report, tmp_path, read_image=read_image, worst=worst)
    assert [path.name for path in (tmp_path / "mistakes").iterdir()] == ["01.jpg"]


def test_a_mistake_whose_image_is_gone_is_still_listed(tmp_path: Path) -> None:
    logits = np.array([[2.0, 0.0]], np.float32)
    report = Report("m", ("a", "b"), ("gone",), np.array([1]), logits, np.array([[0.88, 0.12]], np.float32), 1.0)
    page = write_report(report, tmp_path, read_image=read_image)
    assert "the image cannot be read any more" in page.read_text(encoding="utf-8")


def test_a_flawless_model_has_no_mistakes_to_show(tmp_path: Path) -> None:
    logits, scores = 9 * np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    report = Report("m", ("a", "b", "c"), ("1", "2", "3"), np.arange(3), logits, scores, 1.0)
    assert "None: every image was classified right." in write_report(report, tmp_path, read_image=read_image).read_text()


@pytest.mark.parametrize("classes", [7, 120])
def test_many_classes_get_plots_too(classes: int, tmp_path: Path) -> None:
    page = write_report(report_of(classes, 150), tmp_path, read_image=read_image, worst=0)
    assert "Most often confused" in page.read_text(encoding="utf-8")
    assert (tmp_path / "plots" / "classes.png").is_file()
