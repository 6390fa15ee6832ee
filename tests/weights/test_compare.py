"""Guessed contracts are compared on labeled photos, and the right one is found."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from mobilenets.errors import WeightsError
from mobilenets.model import with_spec
from mobilenets.weights.compare import compare
from mobilenets.weights.load import Reading, load


@pytest.fixture(scope="module")
def folders(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of ten ImageNet classes, a folder each, by ImageNet's names."""
    names = {one["wnid"]: one["name"] for one in json.loads((shared / "data/imagenet-classes.json").read_text())}
    photos = defaultdict(list)
    for photo in sorted((shared / "data/imagenet-sample").glob("*.JPEG")):
        photos[photo.name.partition("_")[0]].append(photo)
    root = tmp_path_factory.mktemp("photos")
    for wnid in list(photos)[::50]:
        folder = root / names[wnid].partition(",")[0]
        folder.mkdir()
        for photo in photos[wnid]:
            shutil.copy(photo, folder)
    return root


@pytest.fixture
def guessed(shared: Path) -> Reading:
    """A network that takes -1 to 1, wrongly guessed to take 0 to 1."""
    model = load(shared / "weights/mobilenet_v1_0.25_128_quant.tflite")
    wrong = replace(model.spec, input=replace(model.spec.input, mean=(0.0,) * 3, std=(1 / 255,) * 3))
    known = {"size": "read", "pixels": "guessed", "resize": "read", "crop": "read"}
    return Reading(with_spec(model, wrong).eval(), "tflite", known, "read")  # type: ignore[arg-type] # literals


def test_the_scale_that_fits_is_found(guessed: Reading, folders: Path) -> None:
    found = compare(guessed, folders)
    contract = found.reading.model.spec.input
    assert (set(contract.mean), set(contract.std)) == ({0.5}, {0.5})
    assert found.best.accuracy >= max(candidate.accuracy for candidate in found.candidates)
    assert found.best.nll < found.candidates[0].nll - 1
    assert found.reading.known["pixels"] == "compared"


def test_images_of_other_classes_are_refused(guessed: Reading, folders: Path, tmp_path: Path) -> None:
    for i, folder in enumerate(sorted(folders.iterdir())[:2]):
        shutil.copytree(folder, tmp_path / f"kind {i}")
    with pytest.raises(WeightsError, match="none of the 2 classes of the images"):
        compare(guessed, tmp_path)
