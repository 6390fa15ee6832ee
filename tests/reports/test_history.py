from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from mobilenets.errors import CheckpointError
from mobilenets.reports.history import PICKS, Line, Panel, epochs_of, facts, panels, read_history, still_falling


def test_columns_are_sorted_into_panels_and_empty_cells_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(
        "epoch,learning_rate,train_loss,val_loss,val_accuracy,images_per_second\n1,0.1,2,,0.5,40\n2,0.05,1,1.5,,41\n"
    )
    assert panels(path) == [
        Panel("loss", (Line("training loss", (1, 2), (2, 1)), Line("validation loss", (2,), (1.5,)))),
        Panel("validation", (Line("accuracy", (1,), (0.5,), picks=True),), shares=True),
        Panel("learning rate", (Line("learning rate", (1, 2), (0.1, 0.05)),)),
    ]


@pytest.mark.parametrize(
    ("columns", "picks"),
    [
        ("val_map50,val_map,val_map75,val_recall", "mAP"),
        ("val_miou,val_pixel_accuracy,val_mean_accuracy", "mean IoU"),
        ("val_loss,val_accuracy,val_balanced_accuracy", "accuracy"),
    ],
)
def test_the_metric_that_picks_the_checkpoint_is_drawn_first(tmp_path: Path, columns: str, picks: str) -> None:
    path = tmp_path / "metrics.csv"
    values = [f"0.{i}" for i, _ in enumerate(columns.split(","), start=1)]
    path.write_text(f"epoch,{columns}\n1,{','.join(values)}\n")
    validation = next(panel for panel in panels(path) if panel.title == "validation")
    assert (validation.lines[0].name, validation.lines[0].picks) == (picks, True)
    assert sum(line.picks for line in validation.lines) == 1


def test_a_curve_that_equals_another_is_not_drawn_twice(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,val_balanced_accuracy,val_accuracy,train_loss,val_loss\n1,0.5,0.5,1,1.1\n2,0.75,0.75,1,1\n")
    lines = {panel.title: [line.name for line in panel.lines] for panel in panels(path)}
    assert lines == {"loss": ["training loss", "validation loss"], "validation": ["accuracy"]}


def test_the_metrics_that_pick_are_those_of_training() -> None:
    pytest.importorskip("torch")
    from mobilenets.training import classify, detect, segment

    assert {lesson.RANK[0] for lesson in (classify, detect, segment)} == set(PICKS)


@pytest.mark.parametrize("text", ["", "epoch,train_loss\n", "a,b\nx,y\n"])
def test_a_history_without_numbers_has_no_panels(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.csv").write_text(text)
    assert panels(tmp_path / "metrics.csv") == []


@pytest.mark.parametrize("losses", [(3.0, 2.0, 1.0), (1.0, 0.97)])
def test_a_loss_that_falls_to_the_end_is_still_falling(losses: tuple[float, ...]) -> None:
    assert still_falling([{"epoch": float(i), "train_loss": loss} for i, loss in enumerate(losses)])


def test_the_validation_loss_decides_whether_training_had_more_to_gain() -> None:
    rows = [{"train_loss": 3.0 - i, "val_loss": loss} for i, loss in enumerate((1.0, 0.5, 0.6))]
    assert not still_falling(rows)
    assert not still_falling(rows[:1])
    assert not still_falling([{"train_loss": 1.0}, {"train_loss": 0.99}])


def test_facts_are_the_tables_of_the_run(tmp_path: Path) -> None:
    data = {"recipe": {"epochs": 3}, "seed": 7, "data": {"name": "photos"}, "weights": "scratch"}
    (tmp_path / "run.json").write_text(json.dumps(data))
    assert facts(tmp_path) == {
        "Run": {"seed": 7, "weights": "scratch"},
        "Recipe": {"epochs": 3},
        "Data": {"name": "photos"},
    }


def test_the_run_section_says_how_long_how_many_epochs_and_how_many_images(tmp_path: Path) -> None:
    data = {"recipe": {"epochs": 100}, "started": "2026-03-01 10:00", "data": {"images": {"train": 1200, "val": 40, "test": 0}}}
    (tmp_path / "run.json").write_text(json.dumps(data))
    (tmp_path / "metrics.csv").write_text("epoch,val_miou,seconds\n1,0.25,60\n2,0.5,120\n3,0.4,185\n")
    assert facts(tmp_path)["Run"] == {
        "duration": "3 min 5 s",
        "epochs": "3 of 100",
        "best epoch": "2, validation mean IoU 50.0%",
        "images": "train 1,200, val 40",
        "started": "2026-03-01 10:00",
    }
    assert epochs_of(read_history(tmp_path / "metrics.csv"), facts(tmp_path)) == (3, 100)


def test_a_folder_that_is_no_run_has_no_facts(tmp_path: Path) -> None:
    assert facts(tmp_path) == {}


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
def test_a_damaged_run_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"run\.json"):
        facts(tmp_path)


def test_a_damaged_history_is_an_error_or_read_past_but_never_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    sound = b"epoch,learning_rate,train_loss,val_accuracy,seconds\n1,0.1,2.0,0.5,9\n2,0.1,1.0,0.6,18\n"
    generator = np.random.default_rng(0)
    for _ in range(500):
        damaged = bytearray(sound)
        for _ in range(generator.integers(1, 6)):
            place = int(generator.integers(0, len(damaged)))
            damaged[place : place + int(generator.integers(0, 3))] = generator.bytes(int(generator.integers(0, 4)))
        path.write_bytes(bytes(damaged))
        with suppress(CheckpointError):
            panels(path)
