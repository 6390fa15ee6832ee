"""What a run is trained on: augmented images through the whole model, or precomputed features through its head."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mobilenets.data.open import fingerprint
from mobilenets.data.samples import Dataset, Sample
from mobilenets.errors import DataError
from mobilenets.feeding.loader import Batch, Draws, Plan, TrainingImages, batches, workers_for
from mobilenets.model import Model
from mobilenets.runtime.cores import cores
from mobilenets.specs.model import InputContract
from mobilenets.training.classify import Answers
from mobilenets.training.lesson import Lesson, Outcome
from mobilenets.training.recipe import Recipe
from mobilenets.training.validation import Prepared

FEATURES = "features.safetensors"


@dataclass(frozen=True, slots=True)
class Material:
    """The training data as the loop sees it.

    Args:
        trained: the module that is trained: the model, its head, or its quantized network.
        samples: the training images.
        batches: returns the parts of the steps from the first up to but not including the last, both counted from 0.
        inputs: converts a batch's images to the input of `trained`, on the device.
        outcome: the results of `trained` on this process's share of the validation split.
        broken: validation images that could not be read, each with the reason.
    """

    trained: nn.Module
    samples: Sequence[Sample]
    batches: Callable[[int, int], Iterator[Batch]]
    inputs: Callable[[Tensor], Tensor]
    outcome: Callable[[], Outcome]
    broken: dict[str, str]


def from_images(
    model: Model, lesson: Lesson, dataset: Dataset, recipe: Recipe, plan: Plan, device: torch.device, *, local: int
) -> Material:
    """Augmented images through the whole model.

    Args:
        model: the model, on `device`.
        lesson: the lesson for its task.
        dataset: a dataset with at least one training image.
        recipe: how much is prefetched and kept in memory.
        plan: how steps are divided into parts.
        device: the model's device.
        local: number of training processes on this machine.
    """
    contract, samples = model.spec.input, dataset.split("train")
    images = TrainingImages(samples, lesson.teacher, seed=recipe.seed)
    prepared = _prepared(dataset.split("val")[plan.process :: plan.processes], contract, recipe.cache_mb // 2)
    if recipe.cache_mb:
        images.keep(recipe.cache_mb // 2 // local, threads=cores())
    part = plan.batch // (plan.accumulate * plan.processes)
    batch_bytes = part * contract.channels * math.prod(contract.shape)
    workers = workers_for(recipe.workers, batch_bytes=batch_bytes, processes=local)
    layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
    scale = (1 / (255 * torch.tensor(contract.std))).reshape(1, -1, 1, 1).to(device)
    shift = (torch.tensor(contract.mean) / torch.tensor(contract.std)).reshape(1, -1, 1, 1).to(device)

    def parts(first: int, last: int) -> Iterator[Batch]:
        pin = device.type == "cuda"
        return batches(images, plan, balance=recipe.balance, seed=recipe.seed, first=first, last=last, workers=workers, pin=pin)

    def inputs(uint8: Tensor) -> Tensor:
        x = uint8.to(device, non_blocking=True).to(torch.float32, memory_format=layout)
        return x.mul_(scale).sub_(shift)

    def outcome() -> Outcome:
        model.eval()
        return lesson.outcome((chunk, _arrays(model.named(given))) for chunk, given in prepared.through(seen, device))

    def seen(x: Tensor) -> Any:  # Any: the model's output
        if len(lesson.views) == 1:
            return model(x)
        return torch.stack([model(x.flip(axes)) for axes in lesson.views]).mean(0)

    return Material(model.learning, samples, parts, inputs, outcome, prepared.broken)


def from_features(
    model: Model, dataset: Dataset, recipe: Recipe, plan: Plan, device: torch.device, run: Path | None, *, main: bool
) -> Material:
    """The frozen backbone's features, computed once, through the head. They are kept in the run's folder, if there is one.

    Args:
        model: the model, on `device`.
        dataset: a dataset with at least one training image.
        recipe: how classes are balanced.
        plan: how steps are divided into parts.
        device: the model's device.
        run: the run's folder.
        main: whether this process writes the file.
    """
    contract = model.spec.input
    key = _key(model, dataset)
    path = None if run is None else run / FEATURES
    splits = {split: _prepared(dataset.split(split), contract, 0) for split in ("train", "val")}
    features = None if path is None else _read(path, key)
    if features is None:
        model.eval()
        features = {}
        for split, prepared in splits.items():
            if prepared.samples:
                chunks = list(prepared.through(model.backbone.features, device))
                if not chunks:
                    message = f"none of {len(prepared.samples)} images of '{split}' can be read"
                    raise DataError(message, hint="run 'mobilenets check' on the data")
                features[split] = torch.cat([rows.float().cpu() for _, rows in chunks])
                read = [sample for chunk, _ in chunks for sample in chunk.samples]
                features[f"{split}_labels"] = torch.tensor([sample.label for sample in read])
                features[f"{split}_weights"] = torch.tensor([sample.weight for sample in read])
        if main and path is not None:
            _write(path, features, key)
    held = features
    labels, weights = held["train_labels"], held["train_weights"]
    broken = {name: reason for prepared in splits.values() for name, reason in prepared.broken.items()}
    samples = [
        dataclasses.replace(dataset.samples[0], label=label, weight=weight)
        for label, weight in zip(labels.tolist(), weights.tolist(), strict=True)
    ]

    def parts(first: int, last: int) -> Iterator[Batch]:
        for draws in Draws(samples, plan, balance=recipe.balance, seed=recipe.seed, first=first, last=last):
            rows = torch.tensor([index for _, _, index in draws])
            yield Batch(held["train"][rows], (labels[rows],), weights[rows])

    def inputs(rows: Tensor) -> Tensor:
        return rows.to(device)

    def outcome() -> Outcome:
        model.head.eval()
        own = slice(plan.process, None, plan.processes)
        with torch.inference_mode():
            logits = model.head(held["val"][own].to(device)).float().cpu().numpy()
        return Answers(logits, held["val_labels"][own].numpy())

    return Material(model.head, samples, parts, inputs, outcome, broken)


def _arrays(outputs: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    return {name: output.float().cpu().numpy() for name, output in outputs.items()}


def _prepared(samples: Sequence[Sample], contract: InputContract, megabytes: int) -> Prepared:
    return Prepared(samples, contract, batch=32, megabytes=megabytes, threads=cores())


def _key(model: Model, dataset: Dataset) -> str:
    digest = hashlib.sha256(fingerprint(dataset).encode() + repr(model.spec.input).encode())
    for name, tensor in model.backbone.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path, key: str) -> dict[str, Tensor] | None:
    """The features in the file; None if they belong to other images or weights."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("key") != key:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except (OSError, SafetensorError):
        return None


def _write(path: Path, features: dict[str, Tensor], key: str) -> None:
    new = path.with_suffix(".new")
    try:
        save_file(features, new, metadata={"key": key})
        new.replace(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"cannot write '{path}': {error}") from error
