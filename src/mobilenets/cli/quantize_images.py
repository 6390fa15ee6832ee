"""Which images `quantize` calibrates on, and which ones judge the result: those of the run, or those that the user names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenets.cli.images import image_files
from mobilenets.cli.measuring import learned_of, trained_on_data
from mobilenets.cli.output import note, progress
from mobilenets.cli.reading import Reading, alike
from mobilenets.data.text import counted
from mobilenets.errors import DataError, MobileNetsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mobilenets.data.samples import Dataset, Sample
    from mobilenets.int8.images import Picture
    from mobilenets.int8.truth import Truth
    from mobilenets.runtime.manifest import Manifest
    from mobilenets.specs.model import Task

ANSWERS = 256
"""Images whose answers are compared where there are no labels, at most."""

LEAST = 2
"""Labeled images without which no difference can be measured."""

ON_TEST = (
    "there is no validation split, so the test split decides which layers stay in float; the drop may be larger on other images"
)
_HELD_BACK = 5  # of so many images one is kept to look at the result, where there are no others


@dataclass(frozen=True, slots=True)
class Material:
    """The images of a quantization.

    Args:
        pictures: to calibrate on, in the order in which they are taken.
        truth: what judges the result.
        count: how many to calibrate on.
        told: where they are from, in words.
        cautions: why the accuracies may not be those of new images.
    """

    pictures: tuple[Picture, ...]
    truth: Truth
    count: int
    told: str
    cautions: tuple[str, ...] = ()


def material(
    manifest: Manifest, run: Path, *, images: str, data: str, reading: Reading, count: int, seed: int, model: Path
) -> Material:
    """The images to calibrate on and to judge by.

    Args:
        manifest: of the model.
        run: the run folder that it is from; another folder if it is from none.
        images: what the user gave to calibrate on; "" for nothing.
        data: what the user gave to judge by; "" for nothing.
        reading: how the user says that data is read.
        count: how many images to calibrate on.
        seed: draws them.
        model: what the user named, for messages.

    Raises:
        DataError: the images or the data cannot be read, or the model does not know a label.
        UsageError: there are no images.
    """
    from mobilenets.evaluation.metric import label_columns
    from mobilenets.int8.images import drawn
    from mobilenets.int8.truth import Labels, SameAnswers, judging

    task = manifest.task
    own = _of_run(run, task, strict=not (images and data))
    if own is not None and not images and not data:
        reading.refuse(own.name)
    given = _opened(data, reading, manifest, model) if data else None
    pictures: tuple[Picture, ...]
    if images:
        pictures, told = _pictures(images, reading), f"'{images}'"
    elif own is not None:
        pictures, told = own.split("train"), _train_of(own)
    elif given is not None and given.split("train") and judging(given) != given.split("train"):
        pictures, told = given.split("train"), _train_of(given)
    else:
        raise UsageError(
            f"'{model}' does not say what it was trained on, so there are no images to calibrate on", hint="--images FOLDER"
        )
    pictures = drawn(pictures, seed)
    dataset = given or own
    if dataset is not None and dataset.samples:
        apart = given is not None and given.drawn and told != _train_of(given)
        judged_on = dataset.samples if apart else judging(dataset)
        label_columns(dataset.labels, manifest.labels)
        if len(judged_on) < LEAST:
            raise DataError(f"'{dataset.name}' has only 1 labeled image, and at least {LEAST} are needed to measure a drop")
        if task == "detect" and not any(sample.boxes for sample in judged_on):
            raise DataError(
                f"the {counted(len(judged_on), 'image')} of '{dataset.name}' to measure the int8 model on show no objects, "
                "so the drop cannot be measured",
                hint="give images with objects: --data DATA",
            )
        cautions = _trained_on(judged_on, own, run) if own is not None else ()
        if not apart and not dataset.split("val") and dataset.split("test"):
            cautions += (ON_TEST,)
        return Material(pictures, Labels(judged_on, dataset.labels, progress), count, told, cautions)
    if len(pictures) > count:
        judged = pictures[count:]
    else:
        count = max(1, len(pictures) - len(pictures) // _HELD_BACK)
        judged = pictures[count:] or pictures
    note(
        "there are no labeled images, so answers are compared without knowing which are right (--data DATA measures the drop "
        "on labeled images)"
    )
    return Material(pictures[:count] + pictures[count + ANSWERS :], SameAnswers(judged[:ANSWERS], progress), count, told)


def _trained_on(judged_on: Sequence[Sample], own: Dataset, run: Path) -> tuple[str, ...]:
    """How many of the images that judge are images that the model, or its first weights, learned from; nothing if none is."""
    known = len(learned_of(judged_on, own, run))
    if not known:
        return ()
    part = "the images" if known == len(judged_on) else f"{known:,} of the {len(judged_on):,} images"
    return (f"the model was trained on {part} that the int8 model is measured on; both do better there than on new images",)


def _of_run(run: Path, task: Task, *, strict: bool) -> Dataset | None:
    """The data of the run; None if it is none, or its data is not there any more and not needed."""
    from mobilenets.reports.history import facts

    splits = run / "splits.csv"
    if not (run / "run.json").is_file() or not splits.is_file():
        return None
    try:
        return trained_on_data(splits, facts(run).get("Data", {}), task)
    except (MobileNetsError, OSError) as error:
        if strict:
            note(f"note: the run's own images cannot be read: {error}")
        return None


def _opened(data: str, reading: Reading, manifest: Manifest, model: Path) -> Dataset:
    dataset = reading.open(data)
    dataset.check_task(manifest.task, f"'{model}'")
    return alike(dataset, manifest.labels)


def _train_of(dataset: Dataset) -> str:
    return f"the train split of '{dataset.name}'"


def _pictures(images: str, reading: Reading) -> tuple[Picture, ...]:
    """The images of a folder or a glob, the one image, or those of a dataset's train split.

    Raises:
        DataError: nothing is there, or there are no images.
    """
    files = image_files(images, skipped=lambda text: note(f"skipped {text}"))
    if files:
        return tuple(files)
    try:
        dataset = reading.open(images)
    except DataError as error:
        hint = "give an image, a folder of images, a glob or a dataset"
        raise DataError(f"there are no images to calibrate on: {error}", hint=hint) from error
    pictures = dataset.split("train") or dataset.samples
    if not pictures:
        raise DataError(f"'{images}' has no images")
    return pictures
