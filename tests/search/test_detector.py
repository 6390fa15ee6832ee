"""A detector through a whole search, from a folder in COCO's format to the exported file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilenets import checkpoint
from mobilenets.data.open import open_dataset
from mobilenets.model import create
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.predictor import Predictor
from mobilenets.search.costs import Costs
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv
from mobilenets.specs.ssd import ssdlite
from mobilenets.training.loop import train
from mobilenets.training.recipe import Recipe

Run = Callable[..., tuple[int, str, str]]
LABELS = ("disk", "square")


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A folder with 48 images in three splits, each with a bright square or a dark one, and COCO's JSON beside them."""
    random = np.random.default_rng(0)
    for split, count in (("train", 24), ("val", 12), ("test", 12)):
        folder = tmp_path / "marks" / split
        folder.mkdir(parents=True)
        images, boxes = [], []
        for i in range(count):
            pixels = random.integers(90, 160, (64, 64, 3))
            x, y = (int(place) for place in random.integers(4, 36, 2))
            pixels[y : y + 24, x : x + 24] = 250 if i % 2 else 5
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{split}-{i:02d}.png")
            images.append({"id": i, "file_name": f"{split}-{i:02d}.png", "width": 64, "height": 64})
            boxes.append(
                {"id": i + 1, "image_id": i, "category_id": i % 2 + 1, "bbox": [x, y, 24, 24], "area": 576, "iscrowd": 0}
            )
        data = {
            "images": images,
            "annotations": boxes,
            "categories": [{"id": i + 1, "name": name} for i, name in enumerate(LABELS)],
        }
        (folder / "_annotations.coco.json").write_text(json.dumps(data))
    return tmp_path / "marks"


@pytest.fixture
def start(coco: Path, tmp_path: Path) -> Path:
    """An SSDLite on two maps of a small network, trained for twenty epochs."""
    rows = (
        Conv(16, kernel=3, stride=2),
        Bottleneck(48, 24, stride=2),
        Bottleneck(72, 24),
        Bottleneck(72, 32, stride=2),
        Bottleneck(96, 32),
        Bottleneck(96, 40, stride=2),
        Conv(64),
    )
    body = BackboneSpec("tiny", rows, tail=(), size=64, norm_momentum=0.1)
    anchors = (((0.375, 1.0),), ((0.5, 1.0),))
    model = create(ssdlite(body, LABELS, size=64, maps=("s8", "s16"), extras=(), anchors=anchors), seed=1)
    recipe = Recipe(
        task="detect", model="mobilenet_v2", epochs=20, batch=8, optimizer="adamw", learning_rate=5e-3, crop=0.0,
        evaluate_every_epochs=20, precision="fp32", workers=0,
    )  # fmt: skip
    dataset = open_dataset(str(coco))
    assert (dataset.task, dataset.labels) == ("detect", LABELS)
    for _ in train(model, dataset, recipe, tmp_path / "start"):
        pass
    return tmp_path / "start"


def networks(text: str) -> dict[str, dict[str, Any]]:
    return {network["name"]: network for network in json.loads(text)["networks"]}


@pytest.mark.slow
def test_a_detector_is_shrunk_to_a_budget_trained_measured_and_exported(
    search: Run, coco: Path, start: Path, table: Path, tmp_path: Path
) -> None:
    before = checkpoint.load(start).spec
    budget = 0.75 * Costs().macs(before)
    asked = (coco, "--start", start, "--max-macs", f"{budget:.6f}", "--step", "0.1", "--fast", "--ladder", "1", "--epochs", "4")
    code, out, err = search(*asked, "--table", table, "--out", "found", "--json")
    assert code == 0, err
    found = networks(out)
    assert [network["origin"] for network in found.values()] == ["start", "search", "ladder"]
    assert {network["metric"] for network in found.values()} == {"map"}
    assert json.loads(out)["judged_by"] == "mAP"
    assert found["start"]["value"] > 0.2  # the start has learned something, of which the search keeps what it can
    assert found["netadapt"]["value"] > 0.2
    for name, network in found.items():
        kept = checkpoint.load(tmp_path / "found" / "finalists" / name)
        assert Costs().macs(kept.spec) == pytest.approx(network["cost"]["macs"])
        assert name == "start" or network["cost"]["macs"] <= budget
        predictor = Predictor.open(tmp_path / "found" / network["export"])
        assert predictor.manifest.labels == LABELS
        assert isinstance(next(iter(predictor.predict([coco / "test" / "test-01.png"]))), Detections)
    adapted = checkpoint.load(tmp_path / "found" / "finalists" / "netadapt").spec
    maps = [row.c_out for row in before.backbone.rows if row.c_out == 32]
    assert [row.c_out for row in adapted.backbone.rows if row.c_out == 32] == maps  # the head reads them as they are
    assert (tmp_path / "found" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["netadapt", "shapes"])
def test_a_detector_is_shrunk_by_latencies_of_this_machine(
    method: str, search: Run, coco: Path, start: Path, tmp_path: Path
) -> None:
    if method == "shapes":
        pytest.importorskip("optuna")
    options = ("--step", "0.3") if method == "netadapt" else ("--method", "shapes", "--trials", "6")
    code, out, err = search(
        coco,
        "--start",
        start,
        "--max-ms",
        "1000",
        "--fast",
        "--ladder",
        "1",
        "--epochs",
        "1",
        *options,
        "--out",
        "found",
        "--json",
    )
    assert code == 0, err
    found = networks(out)
    assert {network["origin"] for network in found.values()} == {"start", "search", "ladder"}
    for network in found.values():
        assert network["measured_ms"] == pytest.approx(network["cost"]["ms"], rel=0.5)
