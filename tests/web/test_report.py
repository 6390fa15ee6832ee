"""The report of a run in a browser: mistakes sort, show where the network looked, and print."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.reports import test_detect
from tests.web.axe import violations
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
    file = write_report(
        measured,
        tmp_path / "report",
        read_image=read_image,
        look=look(predictor, read_image),
        context={"Run": {"seed": 0}, "Recipe": {f"setting {i}": i for i in range(60)}},
        next_command="mobilenets predict runs/a-run-with-a-long-name photos/a-folder-with-a-long-name IMAGE",
    )
    page = browser.new_page(bypass_csp=True)  # of the report, for axe-core; the policy itself is tested without a browser
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
    closed = report.locator("details:not([open])")
    before = closed.count()
    report.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert closed.count() == 0
    report.evaluate("dispatchEvent(new Event('afterprint'))")
    assert closed.count() == before > 0


def test_a_cell_of_the_matrix_opens_its_images_on_the_same_page_by_keyboard(report: Page) -> None:
    cells = report.get_by_role("link", name="predicted as")
    names = [cell.get_attribute("aria-label") or "" for cell in cells.all()]
    assert sorted(names) == sorted(set(names)), "each cell is one link"
    assert "green, predicted as red: 2 images" in names
    images = report.locator(".cell:visible")
    assert images.count() == 0
    cells.first.press("Enter")
    assert images.count() == 1
    assert images.locator("h3").inner_text() == names[0].split(":")[0]
    assert report.evaluate("document.activeElement.id") == images.get_attribute("id")
    assert len(report.context.pages) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_cell_opens_also_for_boxes_and_goes_back_and_is_open_on_paper(scheme: str, browser: Browser, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = write_report(test_detect.report_of(images=8), tmp_path / "report", read_image=test_detect.read_image)
    page = browser.new_page(bypass_csp=True, viewport={"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(file.as_uri())
    cell = page.get_by_role("link", name="rose, missed: 8 objects, the 6 largest")
    cell.press("Enter")
    images = page.locator(".cell:visible")
    assert images.locator("h3").inner_text() == "rose, missed"
    assert images.locator("img").count() == 6
    assert images.locator("img").first.evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 160
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    assert violations(page) == []
    page.get_by_role("link", name="Back to the matrix").click()
    assert page.locator(".cell:visible").count() == 0
    assert page.locator("#plot-confusion").evaluate("(plot) => Math.abs(plot.getBoundingClientRect().top) < innerHeight / 2")
    page.emulate_media(media="print")
    assert page.locator(".cell:visible").count() == 4
    assert page.get_by_role("heading", name="Behind the cells").is_visible()
    assert not page.get_by_role("link", name="Back to the matrix").first.is_visible()
    page.close()


def test_an_image_is_enlarged_by_keyboard_and_closed_to_where_one_was(report: Page) -> None:
    first = report.get_by_role("button", name="Enlarge").first
    first.press("Enter")
    dialog = report.get_by_role("dialog")
    dialog.wait_for()
    shown = dialog.locator("p").inner_text()
    report.keyboard.press("ArrowRight")
    assert dialog.locator("p").inner_text() != shown
    report.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert first.evaluate("(image) => image === document.activeElement")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wrong_with_it_for_those_who_hear_it(scheme: str, width: int, report: Page) -> None:
    report.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    report.set_viewport_size({"width": width, "height": 740})
    assert report.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    assert violations(report) == []


@pytest.mark.parametrize("width", [360, 760, 1280])
def test_labels_are_not_broken_however_wide_the_page_is(width: int, report: Page) -> None:
    report.set_viewport_size({"width": width, "height": 740})
    word = report.locator("dd", has_text="green").first
    lines = word.evaluate("(text) => text.offsetHeight / parseFloat(getComputedStyle(text).lineHeight)")
    assert lines < 2


def test_paper_has_the_intervals_and_the_command_in_ink(report: Page) -> None:
    """Browsers print no grounds unless a page asks for them."""
    report.emulate_media(media="print")
    bars = report.locator(".span, .span i, .span b")
    assert bars.count() > 0
    assert {bar.evaluate("(bar) => getComputedStyle(bar).printColorAdjust") for bar in bars.all()} == {"exact"}
    ink = report.evaluate("getComputedStyle(document.body).color")
    assert report.locator("pre").evaluate("(command) => getComputedStyle(command).color") == ink


@pytest.mark.parametrize("part", [".plots", "main > .mistakes.wide"])
def test_two_plots_and_two_large_images_share_the_width_of_a_page(part: str, report: Page) -> None:
    report.set_viewport_size({"width": 680, "height": 1000})  # A4 without its margins
    report.emulate_media(media="print")
    report.locator("main > .mistakes").first.evaluate("(gallery) => gallery.classList.add('wide')")
    columns = report.locator(part).first.evaluate("(grid) => getComputedStyle(grid).gridTemplateColumns")
    assert len(columns.split()) == 2


def test_a_recipe_goes_on_over_pages_and_begins_below_what_stands_above(report: Page) -> None:
    report.emulate_media(media="print")
    recipe = report.locator("details.card", has_text="setting 59")
    assert recipe.evaluate("(part) => getComputedStyle(part).breakInside") == "auto"
    assert recipe.locator("tr").first.evaluate("(row) => getComputedStyle(row).breakInside") == "avoid"


def test_a_table_that_is_wider_than_a_phone_scrolls_by_keyboard(report: Page) -> None:
    report.set_viewport_size({"width": 1280, "height": 740})
    tables = report.locator(".scroll")
    assert tables.count() == report.locator(".scroll:not([tabindex])").count() > 0
    report.set_viewport_size({"width": 300, "height": 740})
    wide = "(part) => part.scrollWidth > part.clientWidth"
    expected = [part.evaluate(wide) for part in tables.all()]
    assert any(expected)
    report.locator(".scroll[tabindex='0']").first.wait_for()
    assert [part.get_attribute("tabindex") == "0" for part in tables.all()] == expected


def test_paper_is_light_also_where_the_screen_is_dark(report: Page) -> None:
    def colors() -> list[str]:
        names = ["--ground", "--ink", "--muted", "--right", "--wrong", "--teal", "--caution"]
        return [
            report.evaluate("(name) => getComputedStyle(document.documentElement).getPropertyValue(name)", name)
            for name in names
        ]

    report.emulate_media(color_scheme="light", media="print")
    by_day = colors()
    report.emulate_media(color_scheme="dark", media="print")
    assert colors() == by_day
    report.emulate_media(color_scheme="dark", media="screen")
    assert not set(colors()) & set(by_day)
