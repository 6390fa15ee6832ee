"""Compares the input contracts that a file leaves open on labeled images, and takes the most accurate one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mobilenets.data.open import open_dataset
from mobilenets.data.samples import Dataset, Sample
from mobilenets.errors import ImageError, WeightsError
from mobilenets.model import Model, with_spec
from mobilenets.runtime.images.prepare import load_input
from mobilenets.specs.model import InputContract, Resize
from mobilenets.weights.load import Reading
from mobilenets.weights.told import PIXELS, Basis

IMAGES = 200
"""Number of images that each candidate is evaluated on, spread evenly over the dataset."""
BATCH = 16
RESIZES: Mapping[str, tuple[Resize, float]] = {
    "central 87.5%": ("crop_then_stretch", 0.875),
    "shorter side, then 87.5%": ("shorter_side_then_crop", 0.875),
    "stretch": ("stretch", 1.0),
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """An input contract, and the model's results with it.

    Args:
        name: what distinguishes it from the others, for display.
        input: the contract.
        accuracy: share of the images whose true class has the highest score.
        nll: mean negative log likelihood of the true class, which ranks candidates of equal accuracy.
    """

    name: str
    input: InputContract
    accuracy: float
    nll: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of comparing contracts.

    Args:
        candidates: the candidates in the order tried; the first one is the guess.
        best: the best candidate.
        images: number of images that each was evaluated on.
        labels: class names, taken from the dataset if the model's were only numbers.
        reading: the model with the best contract.
    """

    candidates: tuple[Candidate, ...]
    best: Candidate
    images: int
    labels: tuple[str, ...]
    reading: Reading


def compare(reading: Reading, source: str | Path) -> Comparison:
    """Evaluate every contract that the file leaves open on labeled images, and take the best: first pixels, then resizing.

    Args:
        reading: a classifier that was read from a file.
        source: a folder with a folder per class, or another classification dataset.

    Raises:
        WeightsError: it is not a classifier, or the images' classes are not the model's.
        DataError: the images cannot be read.
    """
    spec = reading.model.spec
    if spec.task != "classify" or not spec.labels:
        raise WeightsError("only a classifier with classes can be tried on labeled images", hint="leave --images out")
    dataset = open_dataset(source)
    classes, names = _classes(dataset, spec.labels, named=reading.labels != "guessed")
    samples = [sample for sample in dataset.samples if sample.label in classes]
    samples = samples[:: -(-len(samples) // IMAGES) or 1]
    if not samples:
        raise WeightsError(f"'{source}' has no images of the model's classes")
    truth = np.array([classes[sample.label] for sample in samples])
    tried = [_tried("as guessed", reading.model, spec.input, samples, truth)]
    best = tried[0]
    for open_part, options in (("pixels", _by_pixels(spec.input)), ("resize", None)):
        if reading.known.get(open_part) != "guessed":
            continue
        for name, contract in (options or _by_resize(best.input)).items():
            if contract not in [candidate.input for candidate in tried]:
                tried.append(_tried(name, reading.model, contract, samples, truth))
        best = max(tried, key=lambda candidate: (candidate.accuracy, -candidate.nll))
    model = with_spec(reading.model, replace(spec, input=best.input, labels=names)).eval()
    known: dict[str, Basis] = {
        part: "compared" if basis == "guessed" and part != "size" else basis for part, basis in reading.known.items()
    }
    chosen = replace(reading, model=model, known=known, labels="compared" if names != spec.labels else reading.labels)
    return Comparison(tuple(tried), best, len(samples), names, chosen)


def _by_pixels(contract: InputContract) -> dict[str, InputContract]:
    channels = contract.channels
    scales = {name: tuple(part if channels == 3 else part[:1] for part in scale) for name, scale in PIXELS.items()}
    return {f"pixels {name}": replace(contract, mean=mean, std=std) for name, (mean, std) in scales.items()}


def _by_resize(contract: InputContract) -> dict[str, InputContract]:
    return {name: replace(contract, resize=resize, crop=crop) for name, (resize, crop) in RESIZES.items()}


def _tried(name: str, model: Model, contract: InputContract, samples: Sequence[Sample], truth: NDArray[np.int64]) -> Candidate:
    scores = np.concatenate([_log_scores(model, contract, samples[i : i + BATCH]) for i in range(0, len(samples), BATCH)])
    accuracy = float((scores.argmax(1) == truth).mean())
    return Candidate(name, contract, accuracy, float(-scores[np.arange(len(truth)), truth].mean()))


@torch.inference_mode()
def _log_scores(model: Model, contract: InputContract, samples: Sequence[Sample]) -> NDArray[np.float32]:
    """The logarithm of each class's score, N classes."""
    try:
        images = [load_input(sample.read(), contract) for sample in samples]
    except (ImageError, OSError) as error:
        raise WeightsError(f"an image to compare on cannot be read: {error}", hint="take it out of the folder") from error
    scores: NDArray[np.float32] = model(torch.from_numpy(np.stack(images))).log_softmax(1).numpy()
    return scores


def _classes(dataset: Dataset, labels: Sequence[str], *, named: bool) -> tuple[dict[int, int], tuple[str, ...]]:
    """The model's class for each class of the dataset, matched by name; and the names of the model's classes.

    If the model's class names are only numbers, it takes the dataset's names in order, because Keras and torchvision number the
    folders of a dataset that way.
    """
    class_of_name = {part.strip().lower(): i for i, label in enumerate(labels) for part in (label, *label.split(","))}
    by_name = {i: class_of_name[label.lower()] for i, label in enumerate(dataset.labels) if label.lower() in class_of_name}
    if by_name:
        return by_name, tuple(labels)
    if len(dataset.labels) == len(labels) and not named:
        return {i: i for i in range(len(labels))}, tuple(dataset.labels)
    raise WeightsError(
        f"none of the {len(dataset.labels)} classes of the images ('{dataset.labels[0]}', ...) "
        f"is one of the model's {len(labels)} ('{labels[0]}', ...)",
        hint="name the model's classes as the folders are called: --labels labels.txt",
    )
