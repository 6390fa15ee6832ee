"""What `evaluate` and `compare` share: the predictor of a run, and the data that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mobilenets.cli.output import note
from mobilenets.cli.reading import Reading
from mobilenets.errors import CheckpointError, MissingExtraError, MobileNetsError, UsageError

if TYPE_CHECKING:
    from mobilenets.data.samples import Dataset, Sample
    from mobilenets.runtime.predictor import Predictor
    from mobilenets.specs.model import Task


TORCH = "torch"
"""What `--engine` calls the checkpoint itself."""


def predictor_of(run: Path, engine: str | None) -> Predictor:
    """The predictor of a run, an export folder or an exported file: the export if there is one, else the checkpoint with torch.

    Args:
        run: what to open.
        engine: the name of a runtime, such as "onnx", or "torch"; by default the fastest that can open the export.

    Raises:
        CheckpointError: there is nothing of that kind.
        MissingExtraError: the runtime, or torch, is needed and not installed.
        UnknownNameError: there is no such runtime.
    """
    from mobilenets.runtime.engines.open import exported, holds_graph
    from mobilenets.runtime.predictor import Predictor

    if engine != TORCH:
        try:
            if not holds_graph(run):
                exported(run)
            return Predictor.open(run, engine=engine)
        except CheckpointError:
            if engine is not None or not run.is_dir() or not _holds_checkpoint(run):
                raise
            note(f"'{run}' has no export; evaluating its checkpoint with torch")
    try:
        from mobilenets import checkpoint
        from mobilenets.model import TorchEngine
        from mobilenets.runtime.manifest import manifest_of
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train") from error
    model = checkpoint.load(run)
    return Predictor(manifest_of(model.spec), TorchEngine(model))


def check_engine(engine: str | None, *, torch: bool = False) -> None:
    """Refuse an engine that does not exist, before anything is loaded.

    Args:
        engine: what the user typed; None for nothing.
        torch: whether "torch" is one too.

    Raises:
        UsageError: there is no such engine.
    """
    from mobilenets.runtime.engines.table import named

    known = [*named(), *([TORCH] if torch else [])]
    if engine is not None and engine not in known:
        raise UsageError(f"unknown engine '{engine}'; known: {', '.join(known)}")


def engine_line(predictor: Predictor) -> str:
    """Which runtime predicts from which file, and what was measured before it was chosen."""
    chosen = f", {predictor.choice}" if predictor.choice is not None else ""
    return f"engine: {type(predictor.engine).__name__} with {predictor.engine.source}{chosen}"


def _holds_checkpoint(run: Path) -> bool:
    return any((run / name).exists() for name in ("model.safetensors", "best", "last"))


def same_source(source: str, other: str) -> bool:
    """Whether two texts name the same dataset; not if the second is empty."""
    return bool(other) and (source == other or Path(source).resolve() == Path(other).resolve())


def is_own(source: str, run: Path) -> bool:
    """Whether a text names the dataset that a run was trained on, or its splits."""
    from mobilenets.reports.ancestry import SPLITS
    from mobilenets.reports.history import facts

    return any(same_source(source, own) for own in (str(facts(run).get("Data", {}).get("source", "")), str(run / SPLITS)))


def trained_on_data(splits: Path, recorded: Mapping[str, object], task: Task) -> Dataset:
    """The images of a run, in its splits; boxes and masks are read where they came from."""
    from mobilenets.data.readers.lists import in_splits, read_splits, split_names

    if task != "classify":
        how = recorded.get("reading", {})
        dataset = Reading.from_data(how if isinstance(how, Mapping) else {}).open(
            str(recorded.get("source", "")), val=0, test=0
        )
        return in_splits(dataset, split_names(splits))
    labels = recorded.get("labels", ())
    dataset = read_splits(splits, labels=[str(label) for label in labels] if isinstance(labels, list) else ())
    return replace(dataset, name=str(recorded.get("name") or dataset.name))


def learned_copies(samples: Sequence[Sample], run: Path, task: Task) -> frozenset[str]:
    """Names of the images of another dataset that are copies of those that a run, or its first weights, learned from.

    There are none if the run's own images are not there any more.
    """
    from mobilenets.reports.ancestry import SPLITS
    from mobilenets.reports.history import facts

    if not (run / SPLITS).is_file():
        return frozenset()
    try:
        own = trained_on_data(run / SPLITS, facts(run).get("Data", {}), task)
    except (MobileNetsError, OSError):
        return frozenset()
    return learned_of(samples, own, run)


def learned_of(samples: Sequence[Sample], own: Dataset, run: Path) -> frozenset[str]:
    """Names of the images that a run, or its first weights, learned from: files of its own dataset, or copies of them."""
    from mobilenets.data.checks.leaks import copies
    from mobilenets.int8.images import place_of
    from mobilenets.reports.ancestry import learned_from

    names = learned_from(run)
    learned = [sample for sample in own.samples if sample.name in names]
    places = {place_of(sample) for sample in learned}
    return copies(samples, learned) | {sample.name for sample in samples if place_of(sample) in places}


def learned_among(samples: Sequence[Sample], run: Path, source: str, task: Task) -> frozenset[str]:
    """Names of the images of a dataset that a run, or its first weights, learned from: its own by name, others as copies."""
    from mobilenets.reports.ancestry import learned_from

    if is_own(source, run):
        return frozenset(learned_from(run) & {sample.name for sample in samples})
    return learned_copies(samples, run, task)
