"""`Learner`: the network, its optimizer and its averaged weights: everything that an optimizer step changes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from mobilenets.feeding.augment import seed_of
from mobilenets.feeding.loader import Batch
from mobilenets.model import Model
from mobilenets.qat.model import QuantizedModel
from mobilenets.training import machine
from mobilenets.training.distill import DISTANCES
from mobilenets.training.lesson import Lesson
from mobilenets.training.material import Material
from mobilenets.training.optim import Average, add_l2, optimizer, set_learning_rate
from mobilenets.training.ranks import Ranks
from mobilenets.training.recipe import Recipe
from mobilenets.training.start import YoungNorms


class Learner:
    """A model in training.

    Args:
        model: the model, on the device of `ranks`, with the parameters to freeze already frozen.
        lesson: the lesson for its task.
        material: what it is trained on.
        recipe: how it is trained.
        ranks: the processes that share the work.
        young_norms: names of the batch norms that started with unused statistics.
    """

    def __init__(
        self, model: Model, lesson: Lesson, material: Material, recipe: Recipe, ranks: Ranks, *, young_norms: Sequence[str]
    ) -> None:
        self.model, self.lesson, self.material, self.recipe, self.ranks = model, lesson, material, recipe, ranks
        self.trained = material.trained
        self.optimizer = optimizer(self.trained, recipe)
        self.average = Average(self.trained, recipe.ema) if recipe.ema else None
        self.amp = machine.autocast_type(recipe, ranks.device)
        self.scaler = torch.amp.GradScaler(ranks.device.type, enabled=self.amp is torch.float16)
        network = ranks.network(self.trained)
        self._network: nn.Module = torch.compile(network) if recipe.compile else network  # type: ignore[assignment]
        self._parallel = network
        self._young = YoungNorms(model, young_norms)
        self._ranges = [*model.int8.ranges()] if isinstance(model, QuantizedModel) else []

    def step(self, parts: Sequence[Batch], step: int, rate: float) -> Tensor:
        """Compute the gradients of one optimizer step over the parts of a batch, as if they were computed at once.

        Args:
            parts: the parts that this process computes, one after the other.
            step: counted from 0 over the whole run.
            rate: the learning rate.

        Returns:
            This process's share of the loss. The batch's loss is the mean of these shares over the processes.
        """
        set_learning_rate(self.optimizer, rate)
        torch.manual_seed(seed_of(self.recipe.seed, step, self.ranks.index))  # for dropout and stochastic depth
        whole = torch.stack([self.lesson.count(part.targets, part.weights) for part in parts]).sum().double()
        over = (self.ranks.sum(whole).clamp(min=1) / self.ranks.count).to(self.ranks.device, torch.float32)
        total = torch.zeros((), device=self.ranks.device)
        for i, part in enumerate(parts):
            self._young.before(step * len(parts) + i)
            with self._sync_after(i == len(parts) - 1):
                loss = self._loss(part, seed_of(self.recipe.seed, step, self.ranks.index, i), over, parts=len(parts))
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch's backward has no types
            total += loss.detach()
        return total

    def update(self, step: int, *, steps: int) -> None:
        """Update the weights with the gradients of the last step.

        Args:
            step: counted from 0 over the whole run.
            steps: number of steps of the whole run.
        """
        if step >= (1 - self.recipe.frozen_ranges) * steps:
            for scale in self._ranges:
                scale.grad = None
        self.scaler.unscale_(self.optimizer)
        if self.recipe.clip_norm:
            clip_grad_norm_(self.trained.parameters(), self.recipe.clip_norm, foreach=True)
        add_l2(self.optimizer)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(step + 1)

    def averaged(self) -> AbstractContextManager[None]:
        """A context in which the model has its averaged weights, if the recipe averages them."""
        return self.average.applied() if self.average is not None else contextlib.nullcontext()

    @torch.no_grad()
    def finite(self) -> bool:
        """Whether all weights, running statistics, averages and optimizer states are finite."""
        held = [*self.model.state_dict().values()]
        held += [tensor for state in self.optimizer.state.values() for tensor in state.values() if isinstance(tensor, Tensor)]
        held += [] if self.average is None else [*self.average.tensors.values()]
        return all(bool(torch.isfinite(tensor).all()) for tensor in held if tensor.is_floating_point())

    def _loss(self, part: Batch, seed: int, over: Tensor, *, parts: int) -> Tensor:
        device = self.ranks.device
        targets = tuple(target.to(device, non_blocking=True) for target in part.targets)
        x, targets = self.lesson.prepare(self.material.inputs(part.images), targets, seed)
        with torch.autocast(device.type, self.amp, enabled=self.amp is not None):
            outputs = self._network(x)
        weights = part.weights.to(device)
        share = self.recipe.distill if isinstance(self.model, QuantizedModel) else 0.0
        loss = self.lesson.loss(outputs, targets, weights, over) if share < 1 else torch.zeros((), device=device)
        if share and isinstance(self.model, QuantizedModel):
            head = self.model.spec.head
            apart = DISTANCES[head.task](outputs, self.model.teach(x), head)  # N
            loss = (1 - share) * loss + share * (apart * weights).mean() / parts
        return loss

    def _sync_after(self, last: bool) -> AbstractContextManager[None]:
        """Let processes exchange gradients only after the last part of a step."""
        return contextlib.nullcontext() if last else self.ranks.without_sync(self._parallel)
