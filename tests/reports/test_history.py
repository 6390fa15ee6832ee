from __future__ import annotations

import json
from pathlib import Path

import pytest

from mobilenets.errors import CheckpointError
from mobilenets.reports.history import facts, panels


def test_columns_are_sorted_into_panels_and_empty_cells_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(
        "epoch,learning_rate,train_loss,val_loss,val_accuracy,images_per_second\n1,0.1,2,,0.5,40\n2,0.05,1,1.5,,41\n"
    )
    assert panels(path) == [
        ("loss", [("train loss", [1, 2], [2, 1]), ("val loss", [2], [1.5])]),
        ("share right", [("val accuracy", [1], [0.5])]),
        ("learning rate", [("learning rate", [1, 2], [0.1, 0.05])]),
    ]


@pytest.mark.parametrize("text", ["", "epoch,train_loss\n", "a,b\nx,y\n"])
def test_a_history_without_numbers_has_no_panels(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.csv").write_text(text)
    assert panels(tmp_path / "metrics.csv") == []


def test_facts_are_the_tables_of_the_run(tmp_path: Path) -> None:
    data = {"recipe": {"epochs": 3}, "seed": 7, "data": {"name": "photos"}, "weights": "scratch"}
    (tmp_path / "run.json").write_text(json.dumps(data))
    assert facts(tmp_path) == {
        "Run": {"seed": 7, "weights": "scratch"},
        "Recipe": {"epochs": 3},
        "Data": {"name": "photos"},
    }


def test_a_folder_that_is_no_run_has_no_facts(tmp_path: Path) -> None:
    assert facts(tmp_path) == {}


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_run_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"run\.json"):
        facts(tmp_path)
