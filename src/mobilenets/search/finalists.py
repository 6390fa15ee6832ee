"""The final networks of a search: each is fully trained, exported, and measured on images that influenced no choice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mobilenets import checkpoint
from mobilenets.data.samples import Dataset, Split
from mobilenets.documents import decode, encode, parse
from mobilenets.errors import CheckpointError, DocumentError
from mobilenets.evaluation.evaluators import evaluate
from mobilenets.evaluation.intervals import ends
from mobilenets.exporters.table import EXPORTERS, export
from mobilenets.files import write_text
from mobilenets.model import Model, TorchEngine
from mobilenets.runtime.manifest import manifest_of
from mobilenets.runtime.predictor import Predictor
from mobilenets.search.telling import StoppedError, Telling
from mobilenets.training.loop import train
from mobilenets.training.recipe import Recipe

FINALISTS = "finalists"
RESULT = "result.json"


@dataclass(frozen=True, slots=True)
class Finalist:
    """A final network of a search.

    Args:
        name: name of its folder.
        origin: "start", "search" or "ladder".
        title: its name for users.
        metric: the metric, such as "top1".
        value: value of the metric, 0 to 1.
        low, high: its 95% confidence interval; None if not computed.
        split: the split that it was measured on.
        export: the exported file, relative to the search's folder.
    """

    name: str
    origin: str
    title: str
    metric: str
    value: float
    low: float | None
    high: float | None
    split: str
    export: str


@dataclass(frozen=True, slots=True)
class Finishing:
    """How to train and measure the finalists.

    Args:
        folder: folder of the search.
        dataset: for training and measuring.
        recipe: recipe of the full training.
        to: the export format.
        source: the source of the dataset, for the run folders.
        device: where to train.
        telling: shows progress, and tells when to stop.
    """

    folder: Path
    dataset: Dataset
    recipe: Recipe
    to: str
    source: str
    device: str
    telling: Telling

    @property
    def split(self) -> Split:
        """The split that finalists are measured on."""
        parts: tuple[Split, ...] = ("test", "val", "train")
        return next(part for part in parts if self.dataset.split(part))

    def done(self, name: str) -> bool:
        """Whether an earlier run of the search already finished this network."""
        return (self.folder / FINALISTS / name / RESULT).is_file()

    def trained(self, model: Model, name: str, origin: str, title: str) -> Finalist:
        """Fully train a network from its current weights, export it and measure it.

        Steps that an earlier run of the search finished are not repeated.

        Raises:
            StoppedError: a stop was requested.
            TrainingError: the training failed.
        """
        run = self.folder / FINALISTS / name
        if self.done(name):
            return _read(run / RESULT)
        resumes = checkpoint.settled(run / "last").is_dir()
        training = train(
            model,
            self.dataset,
            self.recipe,
            run,
            resume=resumes,
            device=self.device,
            source=self.source,
            stop=self.telling.stop,
        )
        for step in training:
            self.telling.trained(step)
        if training.stopped:
            raise StoppedError
        return self.measured(checkpoint.load(run), name, origin, title)

    def measured(self, model: Model, name: str, origin: str, title: str) -> Finalist:
        """Store, export and measure a network that is already trained."""
        run = self.folder / FINALISTS / name
        if self.done(name):
            return _read(run / RESULT)
        if not checkpoint.settled(run / "best").is_dir():
            checkpoint.save(model, run / "best")
        export(model, run / "export", to=self.to)
        samples = self.dataset.split(self.split)
        predictor = Predictor(manifest_of(model.spec), TorchEngine(model))
        with self.telling.progress(f"evaluating {title}", len(samples)) as advance:
            report = evaluate(predictor, samples, self.dataset.labels, progress=advance)
        metric = report.metrics[0]
        low, high = ends(metric.interval)
        file = run / "export" / EXPORTERS[self.to].file
        place = file.relative_to(self.folder).as_posix()
        finalist = Finalist(name, origin, title, metric.name, metric.value, low, high, self.split, place)
        write_text(run / RESULT, json.dumps(encode(finalist), indent=1) + "\n")
        return finalist


def model_of(folder: Path, finalist: Finalist) -> Model:
    """The network of a finalist; raises CheckpointError."""
    return checkpoint.load(folder / FINALISTS / finalist.name)


def _read(file: Path) -> Finalist:
    try:
        return decode(parse(file.read_bytes()), Finalist)
    except (OSError, DocumentError) as error:
        raise CheckpointError(f"'{file}' cannot be read: {error}", hint="remove it, and --resume measures again") from error
