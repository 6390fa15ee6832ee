"""Teaching in the browser: what is trained there is what its file computes here, in every command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from tests.web.axe import violations
from tests.web.conftest import ONE_THREAD
from tests.web.test_keyboard import held, tabbed
from typer.testing import CliRunner

from mobilenets.cli import app
from mobilenets.runtime.classify import Classification
from mobilenets.runtime.engines.onnx import OnnxEngine
from mobilenets.runtime.images.prepare import load_input
from mobilenets.runtime.predictor import Predictor

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow  # a network is exported, and taught in a browser
TEACHING_MS = 20_000
COLORS = {"brick": (170, 70, 50), "meadow": (60, 150, 70), "sea": (50, 90, 160)}
EACH = 6


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images for each class."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for name, color in COLORS.items():
        (folder / name).mkdir()
        for i in range(EACH):
            pixels = generator.normal(0, 25, (60, 80, 3)) + color + generator.normal(0, 6, 3)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module", params=["floats", "integers"])
def network(request: pytest.FixtureRequest, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported MobileNet whose features are random, which tell colors apart all the same."""
    torch = pytest.importorskip("torch")
    onnx = pytest.importorskip("onnx")
    from tests.deploy.min_max import quantized_by_min_max

    import mobilenets
    from mobilenets.deploy.write_onnx import to_onnx
    from mobilenets.exporters.lower import lower

    torch.manual_seed(0)
    contract = mobilenets.InputContract(size=64)
    spec = mobilenets.ModelSpec(mobilenets.backbone("mobilenet_v2", width=0.35), tuple("abcdefgh"), contract)
    graph = lower(mobilenets.create(spec))
    if request.param == "integers":
        images = np.stack([load_input(image, contract) for image in sorted(photos.rglob("*.png"))])
        graph = replace(quantized_by_min_max(graph, images), manifest=replace(graph.manifest, precision="int8"))
    file = tmp_path_factory.mktemp("network") / "model.onnx"
    onnx.save(to_onnx(graph), file)
    return file


@pytest.fixture(scope="module")
def taught(
    browser: Browser, site: Callable[[Path], str], network: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Page, Path]]:
    """The page after teaching the three classes, and the file that it gives."""
    page = browser.new_page(service_workers="block")
    page.goto(site(network))
    page.get_by_role("button", name="Teach", exact=True).click()
    page.locator(".teach .seen > .actions input[type=file]").set_input_files(photos)
    page.wait_for_selector(".teach .panel > button:enabled", timeout=TEACHING_MS)
    page.locator(".teach .panel > button").click()
    page.wait_for_selector(".results", timeout=TEACHING_MS)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    file = tmp_path_factory.mktemp("taught") / download.value.suggested_filename
    download.value.save_as(file)
    yield page, file
    page.close()


def test_held_out_images_are_counted_in_the_confusion_matrix(taught: tuple[Page, Path]) -> None:
    page, _ = taught
    cells = [int(text) for text in page.locator(".matrix tbody td").all_inner_texts()]
    assert sum(cells) == EACH * len(COLORS)
    right = page.locator(".matrix td.right").all_inner_texts()
    assert page.locator(".results p").first.inner_text().startswith(f"{sum(map(int, right))} of {sum(cells)} images")
    first = page.locator(".matrix tbody button").first
    first.click()
    assert page.locator(".opened img").count() == int(first.inner_text())


def test_what_is_tried_in_the_page_is_what_the_file_predicts(taught: tuple[Page, Path], photos: Path) -> None:
    page, file = taught
    predictor = Predictor.open(file, engine="onnx")
    assert predictor.manifest.labels == tuple(COLORS)
    page.get_by_role("button", name="Try it").click()
    images = sorted(photos.rglob("*.png"), key=lambda image: (image.name, image.parent.name))
    page.locator(".try input[type=file]").first.set_input_files(images)
    captions = page.locator(".strip .caption")
    expected = predictor.predict(list(images))
    for caption, one in zip(captions.all(), expected, strict=True):
        assert isinstance(one, Classification)
        caption.filter(has_text="%").wait_for()
        assert caption.inner_text().removeprefix("perhaps ") == f"{one.label} {one.score:.0%}"
    right = [
        one.label == image.parent.name for one, image in zip(expected, images, strict=True) if isinstance(one, Classification)
    ]
    assert all(right)


def test_every_command_opens_the_file(taught: tuple[Page, Path], photos: Path, tmp_path: Path) -> None:
    _, file = taught
    predicted = run("predict", str(file), str(photos / "brick" / "0.png"), "--json")
    assert json.loads(predicted)["label"] == "brick"
    evaluated = json.loads(
        run("evaluate", str(file), str(photos), "--split", "all", "--out", str(tmp_path / "report"), "--json")
    )
    assert evaluated["metrics"]["top1"]["value"] == 1
    told = json.loads(run("info", str(file), "--json"))
    assert told["classes"] == len(COLORS)
    assert told["layers"][-1]["operator"] == "dense"
    assert told["layers"][-1]["weights"] == told["layers"][-1]["macs"] + len(COLORS)
    pytest.importorskip("flatbuffers")
    pytest.importorskip("ai_edge_litert")
    # The features of a random network in integers are mostly rounding, so that only exact runtimes agree on them.
    kinds = ("cpp",) if Predictor.open(file, engine="onnx").manifest.precision == "int8" else ("onnx", "cpp", "tflite")
    for kind in kinds:
        exported = json.loads(run("export", str(file), "--to", kind, "--out", str(tmp_path / "phone"), "--json"))
        assert exported["passed"], kind
    if kinds == ("cpp",):
        return
    phone = Predictor.open(tmp_path / "phone" / "model.tflite").predict(photos / "sea" / "0.png")
    assert isinstance(phone, Classification)
    assert phone.label == "sea"


def test_the_file_is_read_back_as_what_it_computes(taught: tuple[Page, Path], photos: Path, tmp_path: Path) -> None:
    """Integers and the layer in floats behind them, which no writer here has written."""
    onnx = pytest.importorskip("onnx")
    from mobilenets.deploy.read import read
    from mobilenets.deploy.write_onnx import to_onnx

    _, file = taught
    onnx.save(to_onnx(read(file)), tmp_path / "again.onnx")
    images = np.stack([load_input(image, read(file).manifest.input) for image in sorted(photos.rglob("*.png"))])
    first, again = (OnnxEngine(path, 1).run(images)["logits"] for path in (file, tmp_path / "again.onnx"))
    np.testing.assert_allclose(again, first, rtol=0, atol=1e-5 * np.abs(first).max())


def test_a_recording_is_one_take_which_can_be_taught_but_not_measured(
    browser: Browser, site: Callable[[Path], str], network: Path
) -> None:
    page = browser.new_page(service_workers="block")
    page.goto(site(network))
    page.get_by_role("button", name="Teach", exact=True).click()
    for card in page.locator(".card").all():
        card.get_by_role("button", name="Record").click()
        card.locator("video").wait_for()
        card.locator(".thumbnails li").nth(2).wait_for(timeout=TEACHING_MS)
        card.get_by_role("button", name="Stop").click()
        assert card.locator("video").count() == 0
        assert card.get_by_text("in 1 take").is_visible()
    page.locator(".teach .panel > button").click()
    page.wait_for_selector(".results", timeout=TEACHING_MS)
    assert page.locator(".results .verdict").inner_text() == "Taught, not measured"
    assert "'Class 1', 'Class 2' come from one take" in page.locator(".results p").first.inner_text()
    page.locator(".thumbnails button").first.click()  # an image is taken out again
    assert page.locator(".teach .panel > .quiet").first.inner_text().startswith("The classes have changed since")
    page.close()


def run(*arguments: str) -> str:
    """What a command prints, as JSON."""
    done = CliRunner().invoke(app.build(arguments[0]), arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_teaching_needs_no_mouse_and_can_be_heard(
    scheme: str, browser: Browser, site: Callable[[Path], str], network: Path, photos: Path
) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 740}, service_workers="block")
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.add_init_script(ONE_THREAD)
    page.goto(site(network))
    page.get_by_role("button", name="Teach", exact=True).press("Enter")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="A folder for each class").press("Enter")
    chooser.value.set_files(photos)
    page.wait_for_selector(".teach .panel > button:enabled", timeout=TEACHING_MS)

    images = page.get_by_role("toolbar", name="Images of brick").get_by_role("button")
    page.get_by_role("group", name="brick").get_by_role("button", name="Images").focus()
    first, after = tabbed(page, 2)
    assert first == images.first.get_attribute("aria-label")
    assert after == "Name of the class"  # all images of a class are one stop
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("End")
    last = held(page)
    assert last == images.last.get_attribute("aria-label")
    page.keyboard.press("Enter")
    assert images.count() == EACH - 1
    assert held(page) == images.last.get_attribute("aria-label") != last

    page.locator(".teach .panel > button").press("Enter")
    page.wait_for_selector(".results", timeout=TEACHING_MS)
    page.locator("#live", has_text="right").wait_for()
    assert held(page) == "Teach"
    page.locator(".matrix button").first.press("Enter")
    assert violations(page) == []
    page.evaluate("""document.querySelectorAll(".matrix td").forEach((cell) => {
        cell.className = "wrong";
        cell.style.setProperty("--share", "1");
    })""")
    assert violations(page) == []  # the deepest color that a cell can have
    page.get_by_role("button", name="Remove sea").press("Enter")
    assert page.evaluate("document.activeElement.value") == "meadow"
    page.get_by_role("button", name="Try it").press("Enter")
    page.locator("#live", has_text="The taught model is ready.").wait_for()
    assert tabbed(page, 1) == ["Camera"]
    page.close()
