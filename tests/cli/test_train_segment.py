"""`mobilenets train` on images with masks, and what comes after it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from mobilenets import checkpoint
from mobilenets.cli.app import build
from mobilenets.data.open import open_dataset
from mobilenets.errors import CheckpointError, DataError, RecipeError
from mobilenets.model import create
from mobilenets.specs.families import backbone
from mobilenets.specs.lraspp import LrasppHead
from mobilenets.specs.model import InputContract
from mobilenets.training.heads import spec_for
from mobilenets.training.loop import train
from mobilenets.training.recipe import with_overrides
from mobilenets.training.recipes import recipe

PALETTE = (0, 0, 0, 200, 0, 0, 0, 0, 200, *(7,) * (253 * 3))
TINY = ("--weights", "none", "--width", "0.1", "--size", "64", "--set", "workers=0", "--set", "head_filters=16", "--folds", "0")
NAMES = ("ground", "red", "blue")


def run(verb: str, *arguments: object) -> Result:
    result = CliRunner().invoke(build(verb), [verb, *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def masks(folder: Path) -> Path:
    """Eighteen images with a red and a blue rectangle each, and masks with a palette; what is unknown is 255."""
    random = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for i in range(18):
        pixels, mask = random.integers(90, 170, (48, 64, 3)).astype(np.uint8), np.zeros((48, 64), np.uint8)
        for k, color in enumerate(((220, 40, 40), (40, 40, 220))):
            x, y = 2 + 32 * ((i + k) % 2), int(random.integers(0, 20))
            pixels[y : y + 24, x : x + 28], mask[y : y + 24, x : x + 28] = color, k + 1
        mask[:2] = 255
        Image.fromarray(pixels).save(folder / "images" / f"{i:02d}.png")
        indexed = Image.fromarray(mask)
        indexed.putpalette(PALETTE)
        indexed.save(folder / "masks" / f"{i:02d}.png")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Result]:
    """The folder, a run on it that was stopped after a step, and what the command said that resumed it."""
    folder = tmp_path_factory.mktemp("trained")
    data, place = masks(folder / "yards"), folder / "run"
    settings = with_overrides(
        recipe("segment"), ["width=0.1", "size=64", "epochs=1", "batch=4", "workers=0", "head_filters=16"]
    )
    dataset = open_dataset(data, classes=NAMES)
    model = create(spec_for(dataset, backbone("mobilenet_v1", width=0.1), InputContract(), settings))
    steps = train(model, dataset, settings, place, device="cpu", source=str(data), reading={"classes": ",".join(NAMES)})
    next(steps)
    steps.close()
    return data, place, run("train", data, "--out", place, "--resume", "--json")


def test_a_folder_of_masks_becomes_a_run_with_everything_in_it(trained: tuple[Path, Path, Result]) -> None:
    _, place, result = trained
    told = json.loads(result.stdout)
    assert (told["run"], told["split"]) == (str(place), "test")
    assert 0 <= told["metrics"]["miou"] <= 1
    assert set(told["best"]) == {"train_loss", "val_miou", "val_pixel_accuracy", "val_mean_accuracy"}
    for name in ("run.json", "splits.csv", "metrics.csv", "curves.png", "last/model.json", "report/report.html"):
        assert (place / name).is_file(), name
    parity = json.loads((place / "export" / "parity.json").read_text())
    assert (parity["passed"], [one["name"] for one in parity["outputs"]]) == (True, ["logits"])
    assert "val mIoU 0." in result.stderr


def test_the_run_resumed_with_the_names_it_was_given(trained: tuple[Path, Path, Result]) -> None:
    assert checkpoint.load(trained[1]).spec.labels == NAMES


def test_the_run_is_evaluated_on_its_own_test_split(trained: tuple[Path, Path, Result]) -> None:
    _, place, result = trained
    again = json.loads(run("evaluate", place, "--json", "--out", place / "again").stdout)
    assert again["metrics"]["miou"]["value"] == pytest.approx(json.loads(result.stdout)["metrics"]["miou"], abs=1e-6)


def test_the_run_writes_masks(trained: tuple[Path, Path, Result]) -> None:
    data, place, _ = trained
    out = place.parent / "found"
    assert run("predict", place, data / "images" / "00.png", "--out", out, "--write", "masks").exit_code == 0
    (written,) = [path for path in out.rglob("*.png") if path.is_file()]
    mask = Image.open(written)
    assert mask.size == (64, 48)
    assert set(np.unique(np.asarray(mask))) <= {0, 1, 2}


def test_masks_choose_their_recipe_and_a_run_is_not_overwritten(trained: tuple[Path, Path, Result]) -> None:
    data, place, _ = trained
    result = CliRunner().invoke(build("train"), ["train", str(data), *TINY, "--classes", "a,b,c", "--out", str(place)])
    assert isinstance(result.exception, CheckpointError)
    assert "holds a run already" in str(result.exception)
    assert "mobilenet_v2 0.1 at 64 px, recipe segment" in result.stderr


def test_many_faults_are_told_in_short(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"value 2, which no class has.*; and \d+ more$"):
        run("train", masks(tmp_path / "yards"), *TINY, "--classes", "ground,red", "--out", tmp_path / "run")


def test_another_head_than_that_of_the_weights_is_drawn_and_other_shapes_of_theirs_are_not(
    trained: tuple[Path, Path, Result], tmp_path: Path
) -> None:
    data, place, _ = trained
    begun = ("train", data, "--weights", place, "--classes", ",".join(NAMES), "--size", "64", "--epochs", "1")
    light = run(*begun, "--set", "workers=0", "--set", "batch=4", "--set", "head=lraspp", "--out", tmp_path / "light")
    assert "head=lraspp: a new one on the backbone; the deeplab head of the weights is left out" in light.stderr
    assert isinstance(checkpoint.load(tmp_path / "light").spec.head, LrasppHead)
    kept = run(*begun, "--set", "workers=0", "--set", "batch=4", "--set", "decoder=s4", "--out", tmp_path / "kept")
    assert "warning: the weights' head, deeplab, is kept: decoder=s4 changes nothing" in kept.stderr


def test_a_head_of_another_task_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="head=ssd, but 'yards' is a segmentation dataset"):
        run("train", masks(tmp_path / "yards"), *TINY, "--set", "head=ssd", "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()
