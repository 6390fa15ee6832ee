"""The report of a run in a browser: mistakes sort, show where the network looked, and print."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.web.test_page import COLORS, painted

from mobilenets.data.open import open_dataset
from mobilenets.evaluation.evaluators import evaluate
from mobilenets.reports.classify.looked import look
from mobilenets.reports.write import write_report
from mobilenets.runtime.predictor import Predictor

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture
def report(browser: Browser, color_model: Path, tmp_path: Path) -> Iterator[Page]:
    """The report of a classifier whose images lie in the folders of wrong classes."""
    pytest.importorskip("matplotlib")
    names = list(COLORS)
    for i, name in enumerate(names):
        for k in range(2):
            painted(tmp_path / "photos" / names[(i + 1) % 3] / f"{name}-{k}.png", COLORS[name])
    data = open_dataset(str(tmp_path / "photos"))
    samples = {sample.name: sample for sample in data.samples}
    predictor = Predictor.open(color_model, engine="onnx")

    def read_image(name: str) -> bytes:
        return samples[name].read()

    measured = evaluate(predictor, list(samples.values()), data.labels)
    file = write_report(measured, tmp_path / "report", read_image=read_image, look=look(predictor, read_image))
    page = browser.new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(file.as_uri())
    yield page
    page.close()
    assert errors == []


def test_mistakes_sort_by_what_is_said_below_them(report: Page) -> None:
    gallery = report.locator("main > .mistakes").first

    def column(place: int) -> list[str]:
        return [text.split()[0] for text in gallery.locator(f"dd:nth-of-type({place})").all_inner_texts()]

    listed = column(1)
    assert len(listed) == 2 * len(COLORS)
    sort = report.get_by_label("Sort by")
    assert sort.locator("option").all_inner_texts() == ["as listed", "predicted", "truth", "name"]
    sort.select_option("truth")
    assert column(2) == sorted(column(2))
    assert column(1) != listed
    sort.select_option("as listed")
    assert column(1) == listed


def test_where_it_looked_opens_below_a_mistake_and_on_paper(report: Page) -> None:
    looked = report.locator("details.looked")
    assert looked.count() == 2 * len(COLORS)
    first = looked.first.locator("img")
    assert not first.is_visible()
    looked.first.locator("summary").click()
    assert first.is_visible()
    assert first.evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 64
    report.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert all(part.evaluate("(part) => part.open") for part in looked.all())
