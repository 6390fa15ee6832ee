"""`quantize`: turns a model into a folder with the same network in int8, after checking its accuracy drop."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

from mobilenets.data.samples import Dataset
from mobilenets.errors import DataError
from mobilenets.exporters.lower import lower
from mobilenets.int8.flow import quantized
from mobilenets.int8.folder import About, about, check_free, write
from mobilenets.int8.images import affordable, drawn
from mobilenets.int8.truth import POINTS, Labels, judging
from mobilenets.model import Model
from mobilenets.telling import Telling


def quantize(
    model: Model,
    dataset: Dataset,
    folder: str | Path = "int8",
    *,
    max_drop: float = POINTS,
    count: int | None = None,
    seed: int = 0,
    telling: Telling | None = None,
) -> About:
    """Quantize a model to 8-bit integers: `quantize(load("runs/photos"), open_dataset("photos/"))`.

    It is calibrated on the train split and judged on the validation split, or on the test split if there is no other. While it
    loses more than `max_drop`, the layers that make the most noise stay in float. If it loses too much even with half of them
    in float, `passed` of the result is false and the folder contains only the report. Otherwise `Predictor.open` opens it.

    Args:
        model: in floats; it is not modified.
        dataset: labeled images of the model's task.
        folder: the output folder; an older int8 model there is replaced as a whole.
        max_drop: points of accuracy, mAP50 or mean IoU that may be lost.
        count: images to calibrate on; by default 128, or as many as fit into 2 GB.
        seed: draws them.
        telling: how progress is shown; not at all by default.

    Raises:
        DataError: the dataset has no images to calibrate on, is for another task, or has labels that the model does not know.
        GraphError: the model is quantized already.
        UsageError: the folder holds something else.
        CheckpointError: the folder cannot be written.
    """
    folder, telling = Path(folder), telling or Telling()
    check_free(folder)
    dataset.check_task(model.spec.task, "the model")
    pictures = drawn(dataset.split("train"), seed)
    if not pictures:
        raise DataError(f"'{dataset.name}' has no train split to calibrate on")
    graph = lower(model)
    truth = Labels(judging(dataset), dataset.labels)
    with tempfile.TemporaryDirectory(prefix="mobilenets-int8-") as scratch:
        done = quantized(
            graph,
            pictures,
            truth,
            count=count or affordable(graph),
            limit=max_drop,
            folder=Path(scratch),
            telling=telling,
        )
        known = about(done, source=dataset.name, seed=seed)
        following = f"mobilenets info {shlex.quote(str(folder))}"
        for text in write(done, folder, known=known, run=None, title=f"{dataset.name} in int8", next_command=following):
            telling.said(text)
    return known
