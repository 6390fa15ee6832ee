"""Remarks on a report's metrics, in sentences: too few images, training that ended early, an equally good baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from mobilenets.data.checks.leaks import Leak, copied_leaks
from mobilenets.data.samples import Dataset
from mobilenets.data.text import counted
from mobilenets.reports import words
from mobilenets.reports.ancestry import inherited
from mobilenets.reports.history import epochs_of, facts, read_history, still_falling
from mobilenets.reports.kinds import KINDS, Evaluated
from mobilenets.reports.page import Remark

TOO_FEW, FEW = 30, 100
"""Images in a split: below the first number, no conclusions are possible; below the second, only about large differences."""

FEW_OF_CLASS = 10
"""With fewer images or objects of a class than this, its own metrics are unreliable."""

NAMED = 5  # maximum number of classes in a sentence


def remarks_of(report: Evaluated, *, split: str, run: Path, dataset: Dataset | None = None) -> tuple[Remark, ...]:
    """All remarks on a report's metrics. Those that put the metrics in doubt come first.

    Args:
        report: the result of an evaluation.
        split: the evaluated split; "all" for a whole dataset, "cross-validation" if no model was trained on its images.
        run: the run folder. A folder that is not a run gets no remarks on training.
        dataset: the run's own dataset, to look for images that are in two splits or were trained on.

    Raises:
        CheckpointError: run.json or metrics.csv is damaged.
    """
    of_training = training_remarks(read_history(run / "metrics.csv"), facts(run))
    of_data = []
    if dataset is not None:
        of_data = [*seen_remarks(dataset, split), *leak_remarks(copied_leaks(dataset), split)]
        of_data = of_data or inherited_remarks(dataset, split, inherited(run))
    remarks = [*of_data, *size_remarks(report, split), *KINDS[type(report)].remarks(report), *of_training]
    return tuple(sorted(remarks, key=lambda remark: not remark.warning))


def seen_remarks(dataset: Dataset, split: str) -> list[Remark]:
    """The remark that the model was trained on the evaluated images, or on some of them."""
    if split not in ("train", "all"):
        return []
    seen = len(dataset.split("train"))
    return _learned("The model was", seen, seen if split == "train" else len(dataset.samples))


def copied_remarks(copied: int, images: int) -> list[Remark]:
    """The remark that images of another dataset are copies of images that the model was trained on.

    Args:
        copied: number of copied images.
        images: number of images.
    """
    return _learned("The model was", copied, images)


def inherited_remarks(dataset: Dataset, split: str, learned: Set[str]) -> list[Remark]:
    """The remark that the initial weights of the training were themselves trained on images of this split.

    Args:
        dataset: the run's dataset.
        split: as for `remarks_of`.
        learned: names of the images that the initial weights were trained on.
    """
    names = [sample.name for sample in dataset.samples if split in (sample.split, "all", "cross-validation")]
    return _learned("The first weights were", sum(name in learned for name in names), len(names))


def _learned(who: str, known: int, images: int) -> list[Remark]:
    if not known:
        return []
    part = "these images" if known == images else f"{known:,} of these {images:,} images"
    return [Remark(f"{who} trained on {part}: the metrics are better than they would be on new images.")]


def leak_remarks(leaks: Sequence[Leak], split: str) -> list[Remark]:
    """Remarks on images of the split that the model was trained on or selected with."""
    return [
        Remark(f"{leak}: the metrics are better than they would be on new images.") for leak in leaks if leak.split == split
    ]


def training_remarks(rows: Sequence[Mapping[str, float]], tables: Mapping[str, Mapping[str, object]]) -> list[Remark]:
    """Remarks on training that ended early, or that would have improved with more epochs.

    Args:
        rows: the rows of metrics.csv.
        tables: the tables of facts about the run.
    """
    done, planned = epochs_of(rows, tables)
    falling = still_falling(rows)
    if planned > done > 0:
        so_far = f"The model was trained for {done:,} of {planned:,} epochs"
        longer = ", and the loss was still falling: more epochs would probably help." if falling else "."
        return [Remark(so_far + longer, warning=falling)]
    if done and falling:
        return [Remark(f"The loss was still falling after {counted(done, 'epoch')}: more epochs would probably help.")]
    return []


def size_remarks(report: Evaluated, split: str) -> list[Remark]:
    """Remarks on splits and classes with too few images."""
    remarks = []
    images, best = len(report), report.metrics[0]
    whose = "The dataset" if split in ("all", "cross-validation") else f"The {split} split"
    spread = words.interval(best)
    could = f" The true {best.title} may be anywhere from {spread}." if spread else ""
    if images < TOO_FEW:
        remarks.append(Remark(f"{whose} has {counted(images, 'image')}: too few to judge.{could}"))
    elif images < FEW:
        remarks.append(Remark(f"{whose} has {images} images: only large differences can be seen.{could}"))
    kind = KINDS[type(report)]
    few = sorted(((n, label) for label, n in kind.support(report).items() if 0 < n < FEW_OF_CLASS), key=lambda pair: pair[0])
    if few and images >= TOO_FEW:
        named = ", ".join(f"'{label}' ({count})" for count, label in few[:NAMED])
        more = f" and {len(few) - NAMED} more" if len(few) > NAMED else ""
        subject, whose = ("1 class has", "Its") if len(few) == 1 else (f"{len(few)} classes have", "Their")
        remarks.append(
            Remark(f"{subject} fewer than {FEW_OF_CLASS} {kind.noun}s here: {named}{more}. {whose} own metrics say little.")
        )
    return remarks
