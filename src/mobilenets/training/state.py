"""The state a run saves to resume exactly: optimizer, averaged weights and step. Safetensors and JSON, written atomically."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as pack_tensors
from torch import Tensor

from mobilenets import checkpoint
from mobilenets.documents import decode, parse
from mobilenets.errors import CheckpointError, DocumentError

if TYPE_CHECKING:
    from mobilenets.training.learner import Learner

TENSORS = "training.safetensors"
PROGRESS = "training.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run.

    Args:
        step: number of completed optimizer steps.
        epochs: total number of epochs in the run; the last one may be partial.
        steps: total number of optimizer steps in the run; 0 means those of all its epochs.
        seconds: training time so far.
        best: the best validation metrics; empty before the first.
        best_epoch: the epoch in which they were reached, counted from 1.
        loss_sum: sum of the losses in the unfinished epoch, used for its mean.
        loss_scale: scale of float16 gradients; 0 if not in use.
        young_norms: names of the batch norms that started with unused statistics.
    """

    step: int = 0
    epochs: int = 0
    steps: int = 0
    seconds: float = 0.0
    best: Mapping[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    loss_sum: float = 0.0
    loss_scale: float = 0.0
    young_norms: tuple[str, ...] = ()


def save(folder: Path, learner: Learner, progress: Progress, *, recipe: Mapping[str, object]) -> None:
    """Write the checkpoint `folder` with everything needed to resume from it.

    Args:
        folder: the folder to write or replace.
        learner: provides the model, optimizer and averages.
        progress: the run's progress.
        recipe: stored in the checkpoint's description.

    Raises:
        CheckpointError: the disk is full or not writable.
    """
    names: dict[Tensor, str] = {weight: name for name, weight in learner.trained.named_parameters()}
    tensors = {
        f"optimizer/{kind}/{names[weight]}": tensor
        for weight, state in learner.optimizer.state.items()
        for kind, tensor in state.items()
        if isinstance(tensor, Tensor)
    }
    if learner.average is not None:
        tensors.update({f"average/{name}": tensor for name, tensor in learner.average.tensors.items()})
    with checkpoint.replacing(folder) as new:
        checkpoint.write(learner.model, new, metrics=progress.best, recipe=recipe)
        packed = pack_tensors({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})
        (new / TENSORS).write_bytes(packed)
        (new / PROGRESS).write_text(json.dumps(dataclasses.asdict(progress), indent=1) + "\n", encoding="utf-8")


def progress_of(folder: Path) -> Progress:
    """The progress of the run that saved `folder`.

    Raises:
        CheckpointError: the training state is missing or damaged.
    """
    path = checkpoint.settled(folder) / PROGRESS
    try:
        progress = decode(parse(path.read_bytes()), Progress)
    except OSError as error:
        raise CheckpointError(f"'{folder}' has no training state to resume from: {error.strerror or error}") from error
    except DocumentError as error:
        raise CheckpointError(f"'{path}' is damaged: {error}") from error
    if min(progress.step, progress.epochs, progress.steps, progress.best_epoch, progress.seconds, progress.loss_scale) < 0:
        raise CheckpointError(f"'{path}' is damaged: a count or a time is negative")
    return progress


def restore(folder: Path, learner: Learner) -> None:
    """Restore the optimizer and averaged weights from the state that `save` wrote.

    Raises:
        CheckpointError: the state is missing, damaged or from another model.
    """
    path = checkpoint.settled(folder) / TENSORS
    try:
        tensors = parse_tensors(path.read_bytes())
        weights = dict(learner.trained.named_parameters())
        for name, tensor in tensors.items():
            owner, _, rest = name.partition("/")
            if owner == "optimizer":
                kind, _, weight_name = rest.partition("/")
                weight = weights[weight_name]
                learner.optimizer.state[weight][kind] = _like(weight, tensor)
        if learner.average is not None:
            learner.average.load(
                {name.removeprefix("average/"): tensor for name, tensor in tensors.items() if name.startswith("average/")}
            )
    except OSError as error:
        raise CheckpointError(f"cannot read '{path}': {error.strerror or error}") from error
    except (KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"'{path}' is damaged or of another model: {error}") from error


def _like(weight: Tensor, saved: Tensor) -> Tensor:
    """Move a saved tensor to the weight's device, and to its memory layout if the shapes match: fused optimizers need that."""
    if saved.shape != weight.shape:
        return saved.to(weight.device)
    return torch.empty_like(weight, dtype=saved.dtype).copy_(saved)
