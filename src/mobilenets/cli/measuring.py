"""What `evaluate` and `compare` share: the predictor of a run, and the data that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenets.cli.output import note
from mobilenets.cli.reading import Reading
from mobilenets.errors import CheckpointError, DataError, MissingExtraError

if TYPE_CHECKING:
    from mobilenets.data.samples import Dataset, Sample
    from mobilenets.runtime.predictor import Predictor
    from mobilenets.specs.model import Task


def predictor_of(run: Path, engine: str | None) -> Predictor:
    """The predictor of a run, an export folder or an .onnx file: the export if there is one, else the checkpoint with torch.

    Args:
        run: what to open.
        engine: "onnx" or "torch" to insist on one of them.

    Raises:
        CheckpointError: there is nothing of that kind.
        MissingExtraError: torch is needed and not installed.
    """
    from mobilenets.runtime.engines.open import exported
    from mobilenets.runtime.predictor import Predictor

    if engine != "torch":
        try:
            return Predictor.open(exported(run))
        except CheckpointError:
            if engine == "onnx" or not run.is_dir() or not _holds_checkpoint(run):
                raise
            note(f"'{run}' has no export; its checkpoint is evaluated with torch")
    try:
        from mobilenets import checkpoint
        from mobilenets.model import TorchEngine
        from mobilenets.runtime.manifest import manifest_of
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train") from error
    model = checkpoint.load(run)
    return Predictor(manifest_of(model.spec), TorchEngine(model))


def _holds_checkpoint(run: Path) -> bool:
    return any((run / name).exists() for name in ("model.safetensors", "best", "last"))


def home_of(run: Path) -> Path:
    """The run folder that a run, a folder inside it or a file in one of those belongs to; else the folder itself."""
    folder = run if run.is_dir() else run.parent
    return next((place for place in (folder, folder.resolve().parent) if (place / "run.json").is_file()), folder)


def same_source(source: str, other: str) -> bool:
    """Whether two texts name the same dataset; not if the second is empty."""
    return bool(other) and (source == other or Path(source).resolve() == Path(other).resolve())


def trained_on_data(splits: Path, told: Mapping[str, object], task: Task) -> Dataset:
    """The images of a run, in its splits; boxes and masks are read where they came from."""
    from mobilenets.data.readers.lists import in_splits, read_splits, split_names

    if task != "classify":
        how = told.get("reading", {})
        found = Reading.from_data(how if isinstance(how, Mapping) else {}).open(str(told.get("source", "")), val=0, test=0)
        return in_splits(found, split_names(splits))
    labels = told.get("labels", ())
    dataset = read_splits(splits, labels=[str(label) for label in labels] if isinstance(labels, list) else ())
    return replace(dataset, name=str(told.get("name") or dataset.name))


def part_of(dataset: Dataset, split: str | None) -> tuple[str, tuple[Sample, ...]]:
    """The split to evaluate and its samples: test where there are splits, everything where there are none."""
    present = {sample.split for sample in dataset.samples}
    part = split or next((name for name in ("test", "val") if name in present), "all")
    samples = tuple(sample for sample in dataset.samples if part in (sample.split, "all"))
    if not samples:
        have = ", ".join(sorted(present)) or "no images"
        raise DataError(f"'{dataset.name}' has no split '{part}'; it has {have}", hint="--split all takes every image")
    return part, samples
