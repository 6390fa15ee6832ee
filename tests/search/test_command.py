from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mobilenets import checkpoint
from mobilenets.cli.reading import Reading
from mobilenets.cli.search_start import Asked, Target, dataset_of
from mobilenets.data.samples import Dataset
from mobilenets.files import claimed
from mobilenets.model import Model
from mobilenets.runtime.predictor import Predictor
from mobilenets.search.costs import Costs
from mobilenets.training.loop import train
from mobilenets.training.recipe import Recipe

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def start(model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path) -> Path:
    """A run of one epoch."""
    for _ in train(model, dataset, recipe, tmp_path / "start"):
        pass
    return tmp_path / "start"


def _networks(text: str) -> dict[str, dict[str, Any]]:
    return {network["name"]: network for network in json.loads(text)["networks"]}


def test_a_search_fills_its_folder_and_its_networks_keep_to_the_budget(
    search: Run, images: Path, start: Path, table: Path, model: Model, tmp_path: Path
) -> None:
    budget = 0.6 * Costs().macs(model.spec)
    asked = (
        images,
        "--start",
        start,
        "--max-macs",
        f"{budget:.6f}",
        "--fast",
        "--step",
        "0.1",
        "--table",
        table,
        "--ladder",
        "1",
    )
    code, out, err = search(*asked, "--out", "found", "--json")
    assert code == 0, err
    networks = _networks(out)
    assert [network["origin"] for network in networks.values()] == ["start", "search", "ladder"]
    for name, network in networks.items():
        kept = checkpoint.load(tmp_path / "found" / "finalists" / name)
        assert Costs().macs(kept.spec) == pytest.approx(network["cost"]["macs"])
        assert name == "start" or network["cost"]["macs"] <= budget
        assert Predictor.open(tmp_path / "found" / network["export"]).manifest.labels == ("bright", "dark")
    assert err.count("training ") == 2
    assert err.count("looking for the widest network within the budget at each size of the ladder") == 1
    assert "## Steps" in (tmp_path / "found" / "report.md").read_text()
    assert (tmp_path / "found" / "report.html").is_file()
    assert (tmp_path / "found" / "plots" / "front.png").is_file()

    code, again, err = search(images, "--out", "found", "--resume", "--json")  # nothing is done twice
    assert code == 0, err
    assert _networks(again) == networks
    assert "training " not in err

    with claimed(tmp_path / "found") as free:  # as a process does that searches there
        assert free
        code, _, err = search(images, "--out", "found", "--resume", "--json")
    assert code == 2
    assert "'found' is in use: another process searches there" in err


def test_a_search_that_never_begins_leaves_no_folder(search: Run, images: Path, start: Path, tmp_path: Path) -> None:
    code, _, err = search(images, "--start", start, "--max-macs", "1", "--table", "missing.jsonl")
    assert code == 1
    assert "missing.jsonl" in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("kept", ["train", "val"])
def test_a_start_that_has_seen_all_images_is_said_to_have(
    kept: str, images: Path, start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [path.relative_to(images).as_posix() for path in images.rglob("*.png")]
    lines = [f"{kept if i else 'train'},{name}\n" for i, name in enumerate(names)]
    (start / "splits.csv").write_text(f"split,name\n{''.join(lines)}")
    target, reading = Target(), Reading().to_data()
    asked = Asked(
        str(images),
        str(start),
        {},
        "netadapt",
        0.1,
        1,
        1,
        1,
        0.0,
        "",
        0,
        None,
        (),
        target,
        seed=0,
        reading=reading,
        device="cpu",
    )
    found = dataset_of(asked)
    assert len(found.samples) == 96
    assert ("on images that they have seen" in capsys.readouterr().err) == (kept == "train")


@pytest.mark.slow
def test_latency_is_measured_here_and_reported_against_the_prediction(
    search: Run, images: Path, start: Path, tmp_path: Path
) -> None:
    asked = (images, "--start", start, "--max-ms", "1", "--tune", "2", "--ladder", "0", "--out", "found", "--json")
    code, out, err = search(*asked)
    assert code == 0, err
    network = _networks(out)["netadapt"]
    assert network["measured_ms"] == pytest.approx(network["cost"]["ms"], rel=0.3)
    assert len(list((tmp_path / "cache" / "mobilenets" / "latency").glob("onnx-*.jsonl"))) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "a search needs a budget"),
        (("--max-ms", "-1"), "--max-ms -1 is not a positive number"),
        (("--max-mb", "1"), "a search starts from a trained network"),
        (("--max-mb", "1", "--start", "start", "--ssh", "pi", "--adb"), "latency comes from one place"),
        (("--max-mb", "1", "--start", "start", "--serial", "7"), "--serial and --tool need --adb"),
        (("--resume", "--out", "nowhere"), "there is no search in 'nowhere' to resume"),
        (("--resume", "--max-ms", "3"), "--resume keeps the settings of the search; leave out --max-ms"),
        (("--resume", "--out", "x", "--step", "0.01", "--set", "lr=1"), "leave out --step, --set"),
        (
            ("--max-mb", "1", "--storage", "postgresql://me@host/a"),
            "--storage needs --method shapes; the method is netadapt",
        ),
        (("--max-mb", "1", "--start", "start", "--trials", "5", "--reward", "-1"), "is netadapt; leave out --trials, --reward"),
        (("--max-mb", "1", "--start", "start", "--method", "shapes", "--step", "0.1"), "method is shapes; leave out --step"),
        (("--max-mb", "1", "--method", "shapes", "--study", "mine"), "--study needs --storage"),
        (("--max-mb", "1", "--method", "shapes", "--storage", "a.db"), "--storage 'a.db' is not the address of a database"),
    ],
)
def test_options_that_say_too_little_or_contradict_each_other(
    search: Run, images: Path, options: tuple[str, ...], said: str
) -> None:
    code, _, err = search(images, *options)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


def test_a_folder_that_holds_something_is_left_alone(search: Run, images: Path, tmp_path: Path) -> None:
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "notes.txt").write_text("mine")
    code, _, err = search(images, "--start", "start", "--max-mb", "1", "--out", "found")
    assert code == 2
    assert "'found' holds other files already" in err


def test_a_table_without_the_latencies_says_what_it_lacks_and_leaves_no_folder(
    search: Run, images: Path, start: Path, table: Path, tmp_path: Path
) -> None:
    code, _, err = search(images, "--start", start, "--max-ms", "1", "--table", table, "--fast", "--out", "found")
    assert code == 1
    assert "has no latency for" in err
    assert "such as 3x32x32" in err
    assert not (tmp_path / "found").exists()


@pytest.mark.slow
def test_a_search_over_shapes_goes_on_with_more_trials(
    search: Run, images: Path, start: Path, table: Path, model: Model, tmp_path: Path
) -> None:
    pytest.importorskip("optuna")
    budget = 0.7 * Costs().macs(model.spec)
    asked = (images, "--start", start, "--max-macs", f"{budget:.6f}", "--method", "shapes", "--trials", "7", "--tune", "4")
    code, out, err = search(*asked, "--table", table, "--ladder", "0", "--out", "found", "--json")
    assert code == 0, err
    trials = json.loads(out)["trials"]
    assert len(trials) == 7
    found = [network for network in json.loads(out)["networks"] if network["origin"] == "search"]
    assert len(found) == 1
    assert found[0]["cost"]["macs"] <= budget
    assert "## Sampled networks" in (tmp_path / "found" / "report.md").read_text()

    code, out, err = search(images, "--out", "found", "--resume", "--trials", "9", "--json")
    assert code == 0, err
    assert json.loads(out)["trials"][:7] == trials
    assert len(json.loads(out)["trials"]) == 9

    code, out, err = search(images, "--out", "found", "--resume", "--json")  # without --trials there are no more
    assert code == 0, err
    assert len(json.loads(out)["trials"]) == 9
