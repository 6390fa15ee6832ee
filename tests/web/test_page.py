"""The page in a browser: what comes in, what it shows, and who can use it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.web.conftest import READY_MS

from mobilenets.runtime.classify import Classification
from mobilenets.runtime.predictor import Predictor

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    Visit = Callable[[Path], Page]

COLORS = {"red": (200, 50, 60), "green": (40, 200, 60), "blue": (50, 60, 210)}


def painted(path: Path, color: tuple[int, int, int]) -> Path:
    """A file of one color with some noise."""
    pixels: NDArray[np.int64] = np.random.default_rng(0).integers(-20, 20, (48, 64, 3)) + color
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


def verdict(page: Page) -> str:
    """What the page says of the image that it shows."""
    heading = page.locator(".panel:not([hidden]) .verdict")
    heading.wait_for()
    return heading.inner_text().lower()


def test_a_chosen_image_is_classified_as_by_the_predictor(visit: Visit, color_model: Path, tmp_path: Path) -> None:
    image = painted(tmp_path / "meadow.png", COLORS["green"])
    page = visit(color_model)
    page.locator("input[type=file]").first.set_input_files(image)
    expected = Predictor.open(color_model, engine="onnx").predict(image)
    assert isinstance(expected, Classification)
    assert verdict(page) == expected.label
    shown = [line.split("\n")[:2] for line in page.locator(".bars li").all_inner_texts()]
    assert shown == [[label, f"{score:.1%}"] for label, score in expected.top(3)]


def dropped(page: Page, way: str, data: bytes, *, name: str, kind: str) -> None:
    """Drops a file on the page, or pastes it."""
    page.evaluate(
        """([way, data, name, type]) => {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type }));
            document.querySelector("main").firstElementChild.dispatchEvent(way === "drop"
                ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true })
                : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
        }""",
        [way, base64.b64encode(data).decode(), name, kind],
    )


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_images_are_dropped_and_pasted(way: str, visit: Visit, color_model: Path, tmp_path: Path) -> None:
    page = visit(color_model)
    dropped(page, way, painted(tmp_path / "sky.png", COLORS["blue"]).read_bytes(), name="sky.png", kind="image/png")
    assert verdict(page) == "blue"


def test_what_is_no_image_takes_the_place_of_what_was_found(visit: Visit, color_model: Path, tmp_path: Path) -> None:
    page = visit(color_model)
    page.locator("input[type=file]").first.set_input_files(
        [painted(tmp_path / f"{name}.png", color) for name, color in COLORS.items()]
    )
    assert verdict(page)
    dropped(page, "drop", b"words", name="notes.txt", kind="text/plain")
    page.get_by_role("alert").filter(has_text="No images found").wait_for()
    assert page.locator(".panel:visible").count() == 0
    assert page.locator(".strip [aria-pressed=true]").count() == 0
    dropped(page, "drop", b"....ftypheic", name="phone.heic", kind="")
    page.get_by_role("alert").filter(has_text="'phone.heic' cannot be read").wait_for()
    page.get_by_role("button", name="Teach").click()
    dropped(page, "drop", b"words", name="notes.txt", kind="text/plain")
    page.get_by_role("alert").filter(has_text="No images found").wait_for()


def test_a_panorama_is_shown_on_a_stage_and_not_as_a_line(visit: Visit, color_model: Path, tmp_path: Path) -> None:
    Image.new("RGB", (12_000, 20), COLORS["green"]).save(tmp_path / "wide.png")
    page = visit(color_model)
    page.locator("input[type=file]").first.set_input_files(tmp_path / "wide.png")
    assert verdict(page) == "green"
    box = page.locator(".stage").bounding_box()
    assert box is not None
    assert box["height"] > 100


def test_a_folder_becomes_a_strip_and_what_is_broken_is_said(visit: Visit, color_model: Path, tmp_path: Path) -> None:
    for name, color in COLORS.items():
        painted(tmp_path / "photos" / name / "1.png", color)
    (tmp_path / "photos" / "broken.png").write_bytes(b"\x89PNG and nothing more")
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    page = visit(color_model)
    page.locator("input[type=file]").nth(1).set_input_files(tmp_path / "photos")
    captions = page.locator(".strip .caption")
    page.locator(".strip .caption", has_text="red").wait_for()
    assert captions.count() == 4
    assert {caption.split()[0] for caption in captions.all_inner_texts()} == {*COLORS, "cannot"}
    page.locator(".strip button", has=page.locator(".bad")).click()
    message = page.locator(".stage [role=alert]")
    message.wait_for()
    assert "broken.png" in message.inner_text()
    page.locator(".strip button", has_text="green").click()
    assert verdict(page) == "green"


def two_cells(folder: Path) -> Path:
    """An image of a bright cell and a dark one."""
    pixels = np.zeros((96, 96, 3), np.uint8)
    pixels[:32, :32] = (255, 0, 0)
    pixels[64:, 64:] = (150, 20, 20)
    Image.fromarray(pixels).save(folder / "cells.png")
    return folder / "cells.png"


def test_the_slider_decides_by_keyboard_which_boxes_are_shown(visit: Visit, cell_model: Path, tmp_path: Path) -> None:
    cells = two_cells(tmp_path)
    page = visit(cell_model)
    page.locator("input[type=file]").first.set_input_files(cells)
    assert verdict(page) == "2 objects"
    slider = page.get_by_label("Show boxes above")
    slider.focus()
    slider.press("End")
    assert verdict(page) == "nothing found"
    for _ in range(5):
        slider.press("ArrowLeft")
    assert verdict(page) == "1 object"
    assert slider.get_attribute("aria-valuetext") == "95 percent"
    assert page.locator(".overlay").evaluate("(canvas) => canvas.getContext('2d').getImageData(2, 2, 1, 1).data[3]") > 0


def test_the_slider_also_changes_what_is_said_under_each_image(visit: Visit, cell_model: Path, tmp_path: Path) -> None:
    cells = two_cells(tmp_path)
    page = visit(cell_model)
    page.locator("input[type=file]").first.set_input_files([cells, cells])
    page.locator("#live", has_text="2 images done.").wait_for()
    captions = page.locator(".strip .caption")
    before = captions.all_inner_texts()
    page.get_by_label("Show boxes above").press("End")
    captions.filter(has_text="nothing found").nth(1).wait_for()
    assert page.get_by_role("button", name="cells.png: nothing found").count() == 2
    page.get_by_label("Show boxes above").press("Home")
    for _ in range(50):
        page.get_by_label("Show boxes above").press("ArrowRight")
    captions.filter(has_text=before[0]).nth(1).wait_for()


def fitted(model: Path, thresholds: list[float], folder: Path) -> Path:
    """A detector with thresholds for its classes."""
    import onnx

    changed = onnx.load(model)
    (metadata,) = changed.metadata_props
    manifest = json.loads(metadata.value)
    metadata.value = json.dumps({**manifest, "head": {**manifest["head"], "class_thresholds": thresholds}})
    onnx.save(changed, folder / "model.onnx")
    return folder / "model.onnx"


def test_the_slider_also_shows_boxes_below_the_thresholds_that_were_fitted(
    visit: Visit, cell_model: Path, tmp_path: Path
) -> None:
    labels = len(Predictor.open(cell_model, engine="onnx").manifest.labels)
    model = fitted(cell_model, [0.999] * labels, tmp_path)
    cells = two_cells(tmp_path)
    page = visit(model)
    page.locator("input[type=file]").first.set_input_files(cells)
    few = len(Predictor.open(model, engine="onnx").predict(cells).boxes)  # type: ignore[union-attr]  # a detector's
    assert verdict(page) == {0: "nothing found", 1: "1 object"}[few]
    slider = page.get_by_label("Show boxes above")
    slider.press("Home")
    for _ in range(50):
        slider.press("ArrowRight")
    assert verdict(page) == "2 objects"  # as with the same model without thresholds, at 50%


def test_the_slider_says_which_thresholds_count(visit: Visit, cell_model: Path, tmp_path: Path) -> None:
    page = visit(fitted(cell_model, [0.34, 0.52], tmp_path))
    page.locator("input[type=file]").first.set_input_files(two_cells(tmp_path))
    slider, check = page.get_by_label("Show boxes above"), page.get_by_label("Use the model's own threshold")

    def assert_says(text: str, at: str) -> None:
        page.locator(f".slider .value:text-is('{text}')").wait_for()
        assert slider.input_value() == at

    assert_says("34\N{EN DASH}52%", "43")
    slider.press("End")
    assert_says("100%", "100")
    assert not check.is_checked()
    check.check()
    assert_says("34\N{EN DASH}52%", "43")
    assert slider.get_attribute("aria-valuetext") == "34 to 52 percent"
    check.uncheck()
    slider.press("Home")
    assert_says("0%", "0")


def test_a_page_without_its_model_says_what_to_do(browser: Browser, site: Callable[[Path], str], color_model: Path) -> None:
    page = browser.new_page(service_workers="block")
    page.route("**/model/model.onnx", lambda route: route.fulfill(status=404))
    page.goto(site(color_model))
    page.wait_for_selector("html[data-state=failed]", timeout=READY_MS)
    assert "'model/model.onnx' is missing (404)" in page.locator("main [role=alert]").inner_text()
    page.close()


def test_a_network_that_cannot_be_taught_says_why(visit: Visit, color_model: Path, tmp_path: Path) -> None:
    page = visit(color_model)
    page.get_by_role("button", name="Teach", exact=True).click()
    page.locator(".card input[type=file]").first.set_input_files(painted(tmp_path / "one.png", COLORS["red"]))
    trouble = page.locator(".teach [role=alert]", has_text="no last layer")
    trouble.wait_for()
    assert "'one.png' was left out" in trouble.inner_text()
    assert page.locator(".teach .panel > button").is_disabled()


def test_what_is_shown_is_what_the_network_sees(visit: Visit, color_model: Path, tmp_path: Path) -> None:
    """A picture that lies on its side in a file that Chromium does not turn, green at its left."""
    pixels = np.zeros((30, 60, 3), np.uint8)
    pixels[:, :20] = COLORS["green"]
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise: left becomes top
    Image.fromarray(pixels).save(tmp_path / "lying.webp", lossless=True, exif=exif)
    page = visit(color_model)
    page.locator("input[type=file]").first.set_input_files(tmp_path / "lying.webp")
    assert verdict(page)
    shown = page.locator("canvas.picture")
    assert shown.evaluate("(canvas) => [canvas.width, canvas.height]") == [30, 60]
    assert shown.evaluate("(canvas) => [...canvas.getContext('2d').getImageData(15, 5, 1, 1).data]") == [*COLORS["green"], 255]
