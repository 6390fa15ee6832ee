from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Done

from mobilenets.science.table import REPRODUCTIONS

Run = Callable[..., Done]


def test_everything_that_can_be_reproduced_is_listed(mobilenets: Run) -> None:
    done = mobilenets("papers")
    assert done.code == 0
    assert all(name in done.out for name in REPRODUCTIONS)
    listed = json.loads(mobilenets("papers", "--json").out)
    assert {row["name"]: row["what"] for row in listed} == {name: entry.what for name, entry in REPRODUCTIONS.items()}


def test_a_reproduction_prints_the_papers_figures_beside_ours_and_writes_four_files(mobilenets: Run, tmp_path: Path) -> None:
    done = mobilenets("papers", "v1-equation-5", "--out", tmp_path / "a")
    assert done.code == 0, done.err
    line = next(line for line in done.out.splitlines() if "largest saving" in line)
    assert "9 times" in line
    assert "8.922 times" in line
    assert "-0.9%" in line
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        f"v1-equation-5.{ending}" for ending in ("csv", "json", "png", "svg")
    ]


def test_json_holds_every_comparison_and_nothing_else_is_printed(mobilenets: Run, tmp_path: Path) -> None:
    done = mobilenets("papers", "v1-equation-5", "v3-figure-6", "--out", tmp_path, "--json")
    first, second = json.loads(done.out)
    assert (first["name"], second["name"]) == ("v1-equation-5", "v3-figure-6")
    assert first["comparisons"][0]["difference"].endswith("%")


def test_a_wrong_name_suggests_a_near_one(mobilenets: Run, tmp_path: Path) -> None:
    done = mobilenets("papers", "v2-figure1", "--out", tmp_path)
    assert done.code == 1
    assert "did you mean 'v2-figure-1'" in done.err
    assert not list(tmp_path.iterdir())


def test_a_file_is_no_folder_for_results(mobilenets: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    done = mobilenets("papers", "v1-equation-5", "--out", tmp_path / "file")
    assert done.code == 2
    assert "is a file, not a folder" in done.err


def test_weights_without_bottlenecks_and_folders_without_photos_are_refused(
    mobilenets: Run, shared: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    weights = shared / "weights" / "mobilenet_v1_0.25_128_quant.tflite"
    done = mobilenets("papers", "v2-figure-7", "--weights", weights, "--images", tmp_path / "empty", "--out", tmp_path / "out")
    assert done.code == 1
    assert "which has no bottlenecks" in done.err
    weights = shared / "weights" / "mobilenet_v2_1.0_224_quant.tflite"
    done = mobilenets("papers", "v2-figure-7", "--weights", weights, "--images", tmp_path / "empty", "--out", tmp_path / "out")
    assert done.code == 1
    assert "holds no images" in done.err
    assert not list((tmp_path / "out").iterdir())


def test_what_is_missing_is_asked_for(mobilenets: Run, tmp_path: Path) -> None:
    done = mobilenets("papers", "v2-figure-6a", "--out", tmp_path)
    assert done.code == 2
    assert "'v2-figure-6a' needs --data DATA" in done.err
    assert "CIFAR-10" in done.err


def test_an_option_without_effect_is_refused_before_anything_is_computed(mobilenets: Run, tmp_path: Path) -> None:
    done = mobilenets("papers", "v1-equation-5", "--repeats", "3", "--out", tmp_path)
    assert done.code == 2
    assert "--repeats means nothing to 'v1-equation-5'" in done.err
    assert not list(tmp_path.iterdir())
