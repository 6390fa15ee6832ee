"""Detectors and segmenters learn from tar shards, here and on a web server, as classifiers do (`test_loop`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.training.test_detect import RECIPE as DETECT
from tests.training.test_loop import _equal, _in_a_process, _losses
from tests.training.test_segment import COLORS
from tests.training.test_segment import RECIPE as SEGMENT

from mobilenets.data.open import open_dataset
from mobilenets.data.samples import Dataset
from mobilenets.data.writers.shards import write_shards
from mobilenets.model import create
from mobilenets.specs.deeplab import deeplab
from mobilenets.specs.model import ModelSpec
from mobilenets.specs.rows import BackboneSpec
from mobilenets.specs.ssd import ssdlite
from mobilenets.training.loop import train
from mobilenets.training.recipe import Recipe


@dataclass(frozen=True)
class Case:
    recipe: Recipe
    labels: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    spec: Callable[[BackboneSpec, Sequence[str]], ModelSpec]


TASKS = {
    "detect": Case(DETECT, ("red", "blue"), (), partial(ssdlite, size=96, extras=())),
    "segment": Case(replace(SEGMENT, dropout=0.0), ("ground", "red", "blue"), COLORS, partial(deeplab, size=96, rates=())),
}


def packed(rectangles: Dataset, task: Any, folder: Path) -> Dataset:
    """The dataset from shards in a folder."""
    case = TASKS[task]
    write_shards(replace(rectangles, task=task, labels=case.labels, colors=case.colors), folder, per_shard=10)
    return open_dataset(folder)


@pytest.mark.parametrize("task", TASKS)
def test_shards_on_a_web_server_train_as_files_do_and_go_on_after_a_stop(
    task: Any, web: Any, rectangles: Dataset, tiny: BackboneSpec, tmp_path: Path
) -> None:
    here = packed(rectangles, task, web.folder / "s")
    case = TASKS[task]
    recipe = replace(case.recipe, epochs=2, evaluate_every_epochs=1, cache_mb=0)
    model = create(case.spec(tiny, case.labels))
    list(train(model, here, recipe, tmp_path / "here", device="cpu"))
    shards = "train-{000000..000002}.tar", "val-000000.tar"
    (tmp_path / "shards.txt").write_text("".join(f"{web.url}/s/{shard}\n" for shard in shards))
    remote = open_dataset(tmp_path / "shards.txt")
    assert remote.task == task
    steps = train(model, remote, recipe, tmp_path / "there", device="cpu")
    for _ in range(4):
        next(steps)
    steps.close()
    list(train(model, remote, recipe, tmp_path / "there", resume=True, device="cpu"))
    assert _equal(tmp_path / "here" / "last", tmp_path / "there" / "last")


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_two_processes_learn_from_shards_what_one_learns(
    task: Any, rectangles: Dataset, tiny: BackboneSpec, tmp_path: Path
) -> None:
    dataset = packed(rectangles, task, tmp_path / "s")
    case = TASKS[task]
    recipe = replace(case.recipe, epochs=2, evaluate_every_epochs=1)
    model = create(case.spec(tiny, case.labels))
    list(train(model, dataset, replace(recipe, accumulate=2), tmp_path / "one", device="cpu"))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = _in_a_process(tmp_path, launcher, model=model, dataset=dataset, recipe=recipe, run=tmp_path / "two", kill_at=0)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(_losses(tmp_path / "two"), _losses(tmp_path / "one"), rtol=1e-3)
