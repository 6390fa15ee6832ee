"""Which images an export is compared on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from mobilenets.cli.comparing import labeled_of, of_run, readable
from mobilenets.runtime.manifest import Manifest
from mobilenets.specs.model import InputContract

MODEL = Manifest("m", ("cat", "dog"), InputContract(size=16))


@pytest.fixture
def sorted_by_class(tmp_path: Path) -> Path:
    for label, gray in (("cat", 0), ("dog", 200)):
        (tmp_path / "data" / "test" / label).mkdir(parents=True)
        for i in range(3):
            Image.new("L", (16, 16), gray + 9 * i).save(tmp_path / "data" / "test" / label / f"{i}.png")
    return tmp_path / "data"


def test_a_few_labeled_images_are_of_all_classes(sorted_by_class: Path) -> None:
    labeled = labeled_of(str(sorted_by_class), 2, MODEL)
    assert [Path(sample.name).parent.name for sample in labeled.samples] == ["cat", "dog"]
    assert len(labeled_of(str(sorted_by_class), None, MODEL).samples) == 6


def test_a_few_images_of_a_folder_are_of_all_classes_and_broken_ones_are_replaced(sorted_by_class: Path) -> None:
    assert [file.parent.name for file in readable(str(sorted_by_class), 2) if isinstance(file, Path)] == ["cat", "dog"]
    (sorted_by_class / "test" / "dog" / "0.png").write_bytes(b"broken")
    assert len(readable(str(sorted_by_class), 2)) == 2


def test_a_few_images_of_a_runs_validation_split_are_of_all_classes(sorted_by_class: Path, tmp_path: Path) -> None:
    rows = [f"{file},{file.parent.name},val" for file in sorted(sorted_by_class.rglob("*.png"))]
    (tmp_path / "splits.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    (tmp_path / "run.json").write_text(json.dumps({"recipe": {}, "data": {"labels": ["cat", "dog"]}}))
    _, labeled = of_run(tmp_path, 2, "classify")
    assert labeled is not None
    assert [Path(sample.name).parent.name for sample in labeled.samples] == ["cat", "dog"]
