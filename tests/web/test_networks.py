"""Whole networks in the browser against the predictor: outputs within a thousandth, and the same answers."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from tests.exporters.networks import SPECS
from tests.web.conftest import READY_MS, SETTLED, served
from tests.web.corpus import photo
from tests.web.remote import InBrowser
from typer.testing import CliRunner

from mobilenets.cli import app
from mobilenets.cli.demo import page_of
from mobilenets.exporters.agreement import STRAY
from mobilenets.runtime.classify import Classification
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.images.prepare import load_input
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.segment.decode import Segmentation
from mobilenets.specs.model import ClassifierHead

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow  # a network of each task is built and exported
TOLERANCE = 1e-3
FEW = 2  # steps of an output in 8-bit integers: runtimes round in ways of their own


@pytest.fixture(scope="module", params=SPECS)
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with random weights, as an exported file."""
    torch = pytest.importorskip("torch")
    import mobilenets

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("network")
    mobilenets.export(mobilenets.create(SPECS[request.param]), folder, to="onnx")
    return folder / "model.onnx"


def png(width: int, height: int, seed: int) -> bytes:
    """A file, which is decoded the same everywhere."""
    buffer = io.BytesIO()
    Image.fromarray(photo(width, height, seed=seed)).save(buffer, "PNG")
    return buffer.getvalue()


IMAGES = [png(160, 120, 0), png(97, 203, 1), png(300, 90, 2)]


def test_outputs_are_within_a_thousandth(network: Path, workbench: InBrowser) -> None:
    predictor = Predictor.open(network, engine="onnx")
    workbench.open(network, predictor.manifest)
    for image in IMAGES:
        batch = load_input(image, predictor.manifest.input)[np.newaxis]
        expected = predictor.run(batch)
        found = workbench.run(batch)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            assert np.abs(found[name] - values).max() <= TOLERANCE * np.abs(values).max(), name


def same_label(found: dict[str, Any], expected: Classification) -> None:  # Any: a prediction's fields
    np.testing.assert_allclose(found["scores"], expected.scores, atol=TOLERANCE)
    assert found["scores"].argmax() == expected.scores.argmax()


def same_boxes(found: dict[str, Any], expected: Detections) -> None:  # Any: as above
    """The page decodes more boxes, the best first, and chooses those that it shows."""
    count = len(expected)
    assert len(found["scores"]) >= count > 5
    np.testing.assert_allclose(found["scores"][:count], expected.scores, atol=TOLERANCE)
    boxes = found["boxes"].reshape(-1, 4).round()
    rows = {(label, *box) for label, box in zip(found["classes"], boxes, strict=True)}
    missing = [label for label, box in zip(expected.classes, expected.boxes.round(), strict=True) if (label, *box) not in rows]
    assert len(missing) <= STRAY * len(expected)  # near ties at the end of the list are decided either way


def same_mask(found: dict[str, Any], expected: Segmentation) -> None:  # Any: as above
    assert (found["width"], found["height"]) == (expected.width, expected.height)
    assert (found["classes"].reshape(expected.classes.shape) == expected.classes).mean() > 1 - TOLERANCE


SAME: dict[type, Callable[[dict[str, Any], Any], None]] = {  # Any: as above
    Classification: same_label,
    Detections: same_boxes,
    Segmentation: same_mask,
}


def test_answers_are_the_predictors(network: Path, workbench: InBrowser) -> None:
    predictor = Predictor.open(network, engine="onnx")
    workbench.open(network, predictor.manifest)
    for image in IMAGES:
        expected = predictor.predict(image)
        SAME[type(expected)](workbench.predict(image), expected)


def test_litert_computes_the_same_and_is_a_candidate(network: Path, browser: Browser, built_page: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("flatbuffers")
    predictor = Predictor.open(network, engine="onnx")
    with page_of(network) as folder, served(folder) as address:
        page = browser.new_page(service_workers="block")
        page.goto(address)
        page.wait_for_selector(SETTLED, timeout=READY_MS)
        said = page.locator("#engine").inner_text()
        assert "ONNX Runtime on 1 thread" in said
        assert "LiteRT on 1 thread" in said
        bench = InBrowser(page)
        bench.open(folder / "model" / "model.tflite", predictor.manifest, runtime="tflite")
        batch = load_input(IMAGES[0], predictor.manifest.input)[np.newaxis]
        found = bench.run(batch)
        for name, values in predictor.run(batch).items():
            assert np.abs(found[name] - values).max() <= TOLERANCE * np.abs(values).max(), name
        page.close()


def test_integers_are_within_a_few_steps(tmp_path: Path, workbench: InBrowser) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("torch")
    from tests.deploy.conftest import trained
    from tests.deploy.min_max import quantized_by_min_max

    import mobilenets
    from mobilenets.deploy.write_onnx import to_onnx
    from mobilenets.exporters.lower import lower

    contract = SPECS["classify"].input
    images = np.stack([load_input(image, contract) for image in IMAGES])
    graph = quantized_by_min_max(lower(trained(mobilenets.create(SPECS["classify"]))), images)
    onnx.save(to_onnx(graph), tmp_path / "model.onnx")
    predictor = Predictor.open(tmp_path / "model.onnx", engine="onnx")
    workbench.open(tmp_path / "model.onnx", predictor.manifest)
    for batch in images[:, np.newaxis]:
        expected = predictor.run(batch)["logits"]
        step = np.diff(np.unique(expected)).min()
        assert np.abs(workbench.run(batch)["logits"] - expected).max() <= FEW * step


def test_mirrored_views_are_averaged(tmp_path: Path, workbench: InBrowser) -> None:
    pytest.importorskip("torch")
    import mobilenets

    spec = replace(SPECS["classify"], head=ClassifierHead(mirrors="both"))
    mobilenets.export(mobilenets.create(spec), tmp_path, to="onnx")
    predictor = Predictor.open(tmp_path / "model.onnx", engine="onnx")
    workbench.open(tmp_path / "model.onnx", predictor.manifest)
    expected = predictor.predict(IMAGES[0])
    assert isinstance(expected, Classification)
    same_label(workbench.predict(IMAGES[0]), expected)


def test_export_writes_the_page_beside_the_other_files(built_page: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    import mobilenets

    checkpoint = tmp_path / "model"
    mobilenets.save(mobilenets.create(SPECS["classify"]), checkpoint)
    runner = CliRunner()
    done = runner.invoke(app.build("export"), ["export", str(checkpoint), "--to", "web", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    folder = Path(said["file"])
    assert folder == checkpoint / "export" / "web"
    assert said["passed"]
    assert (folder / "index.html").is_file()
    assert Predictor.open(folder / "model" / "model.onnx").manifest.labels == SPECS["classify"].labels
    assert {file.name for file in folder.parent.iterdir()} == {"web", "web.parity.json"}
    refused = runner.invoke(app.build("export"), ["export", str(checkpoint), "--to", "web", "--batch", "4"])
    assert "one image at a time" in str(refused.exception)
