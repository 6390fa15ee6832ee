"""Time: what is planned for a budget, and what is said to be left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mobilenets.data.samples import Dataset
from mobilenets.model import Model
from mobilenets.training import state
from mobilenets.training.loop import train
from mobilenets.training.pace import Around, Pace
from mobilenets.training.recipe import Recipe


class Clock:
    """A clock that a test turns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("mobilenets.training.pace.time.monotonic", lambda: self.now)

    def steps(self, of: Pace, seconds: float, count: int) -> None:
        for _ in range(count):
            self.now += seconds
            of.step_done()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


RECIPE = Recipe(epochs=1000, batch=10, time_budget_minutes=10)


def test_a_budget_pays_for_steps_validations_export_and_report(clock: Clock) -> None:
    of = Pace(RECIPE, 10, 50, around=Around(images_after=50))
    of.start()
    clock.steps(of, 30.0, 1)  # the first one is slow, and is not what the others will take
    clock.steps(of, 1.0, 9)
    clock.now += 5.0
    of.validation_done(5.0)
    # 600 s, of which 44 are gone; at the end a validation (5), an export (8) and 50 images of a report (5)
    room = 0.97 * (600 - 44 - 5 - 8 - 5)
    assert of.plan(10) == 10 + int(room / (1.0 + 5.0 / 10))
    assert of.images_per_second() == pytest.approx(10.0)


def test_the_plan_of_a_run_that_goes_on_is_by_steps_and_not_by_the_part_of_an_epoch_that_was_left(clock: Clock) -> None:
    of = Pace(RECIPE, 20, 0, spent=100.0)
    of.start()
    clock.steps(of, 2.0, 1)  # step 20 of 20: its epoch takes 40 s, not 2
    assert of.due(20)
    assert of.plan(20) == 20 + int(0.97 * (600 - 102) / 2)


def test_time_that_is_up_ends_the_run_within_an_epoch(clock: Clock) -> None:
    of = Pace(RECIPE, 1000, 0)
    of.start()
    clock.steps(of, 1.0, 605)
    assert of.due(605)
    assert of.plan(605) == 605


def test_what_is_left_counts_validations_and_the_end_from_the_first_step_on(clock: Clock) -> None:
    recipe = Recipe(epochs=4, batch=10, evaluate_every_epochs=2)
    of = Pace(recipe, 10, 50, around=Around(images_after=20))
    of.start()
    clock.steps(of, 1.0, 1)
    image = 0.4 / 10  # a share of a training step's time
    assert of.left(1, 40) == pytest.approx(39 * 1.0 + 2 * 50 * image + 8 + 20 * image)
    of.validation_done(4.0)
    assert of.left(20, 40) == pytest.approx(20 * 1.0 + 4.0 + 8 + 20 * 4.0 / 50)
    assert of.left(25, 30) == pytest.approx(5 * 1.0 + 4.0 + 8 + 20 * 4.0 / 50)  # the last epoch is validated in any case


def test_after_the_last_step_the_export_and_the_report_are_left_and_no_validation(clock: Clock) -> None:
    of = Pace(Recipe(epochs=4, batch=10), 10, 50, around=Around(images_after=20))
    of.start()
    clock.steps(of, 1.0, 40)
    of.validation_done(100.0)
    assert of.left(40, 40) == pytest.approx(8 + 20 * 100.0 / 50)


def test_what_is_left_of_a_final_model_counts_the_trainings_that_measure_it(clock: Clock) -> None:
    of = Pace(Recipe(epochs=4, batch=10), 10, 0, around=Around(seconds_before=7.0, images_after=0, trainings_after=5))
    of.start()
    clock.steps(of, 1.0, 10)
    assert of.left(10, 40) == pytest.approx(30 * 1.0 + 8 + 5 * 40 * 1.0)
    clock.steps(of, 1.0, 30)
    assert of.left(40, 40) == pytest.approx(8 + 5 * 40 * 1.0)


def test_no_limit_plans_all_epochs(clock: Clock) -> None:
    of = Pace(replace(RECIPE, time_budget_minutes=0.0), 10, 50, around=Around(images_after=50))
    of.start()
    clock.steps(of, 100.0, 10)
    assert of.plan(10) == 10_000


def test_a_budget_shorter_than_an_epoch_ends_with_a_validated_step(
    model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path
) -> None:
    short = replace(recipe, batch=4, epochs=50, evaluate_every_epochs=50, time_budget_minutes=1e-4)
    steps = list(train(model, dataset, short, tmp_path / "run"))
    assert len(steps) < 12  # of 12 in an epoch
    assert steps[-1].step == steps[-1].steps
    assert "val_accuracy" in steps[-1].metrics
    assert (tmp_path / "run" / "best").is_dir()
    assert list(train(model, dataset, short, tmp_path / "run", resume=True)) == []


def test_patience_waits_for_the_first_validation(model: Model, dataset: Dataset, recipe: Recipe, tmp_path: Path) -> None:
    still = replace(recipe, epochs=9, evaluate_every_epochs=3, patience_epochs=1, learning_rate=0.0, ema=0.0, freeze_norms=True)
    steps = list(train(model, dataset, still, tmp_path / "run"))
    assert steps[-1].epoch == 6  # the second validation is no better than the first
    assert state.progress_of(tmp_path / "run" / "last").best_epoch == 3
