"""Optimizers, weight decay, learning-rate schedules and weight averaging."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, overload

import torch
from torch import Tensor, nn

from mobilenets.qat.network import Layer
from mobilenets.training.recipe import Recipe

Groups = list[dict[str, Any]]  # Any: torch's parameter groups hold tensors and settings side by side


class RMSpropTF(torch.optim.Optimizer):
    """RMSprop as in TensorFlow 1, which the papers' results were obtained with.

    It differs from torch's: epsilon is added inside the root, the mean square starts at one, and the learning rate is inside
    the momentum buffer, so that changing it does not rescale past steps.

        mean_square = decay * mean_square + (1 - decay) * gradient ** 2
        buffer = momentum * buffer + learning_rate * gradient / sqrt(mean_square + epsilon)
        weight = weight - buffer

    Args:
        params: tensors or parameter groups.
        lr: learning rate.
        decay: decay of the moving mean square.
        momentum: momentum of the buffer.
        eps: epsilon.
        weight_decay: this factor times the weight is added to the gradient.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Groups,
        lr: float = 0.045,
        *,
        decay: float = 0.9,
        momentum: float = 0.9,
        eps: float = 1.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "decay": decay, "momentum": momentum, "eps": eps, "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step, and return the loss of `closure` if it is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                self._step(weights, group)
        return loss

    def _step(self, weights: list[Tensor], group: Mapping[str, Any]) -> None:  # Any: as Groups
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        for weight in weights:
            if not self.state[weight]:
                self.state[weight]["mean_square"] = torch.ones_like(weight)
                self.state[weight]["buffer"] = torch.zeros_like(weight)
        mean_squares = [self.state[weight]["mean_square"] for weight in weights]
        buffers = [self.state[weight]["buffer"] for weight in weights]
        if group["weight_decay"]:
            gradients = list(torch._foreach_add(gradients, weights, alpha=group["weight_decay"]))
        torch._foreach_lerp_(mean_squares, torch._foreach_mul(gradients, gradients), 1 - group["decay"])
        roots = torch._foreach_add(mean_squares, group["eps"])
        torch._foreach_sqrt_(roots)
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_addcdiv_(buffers, gradients, roots, value=group["lr"])
        torch._foreach_sub_(weights, buffers)


def optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over the trainable parameters."""
    groups = parameter_groups(model, recipe)
    rate = recipe.learning_rate
    fused = all(weight.device.type in ("cpu", "cuda") for group in groups for weight in group["params"])
    if recipe.optimizer == "rmsprop":
        return RMSpropTF(groups, rate, decay=recipe.rmsprop_decay, momentum=recipe.momentum, eps=recipe.epsilon)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, rate, betas=(recipe.beta1, recipe.beta2), eps=recipe.epsilon, fused=fused)
    return torch.optim.SGD(groups, rate, momentum=recipe.momentum, fused=fused)


def parameter_groups(model: nn.Module, recipe: Recipe) -> Groups:
    """The trainable parameters, grouped by whether weight decay applies to them.

    A parameter's kind follows from the module that owns it: a convolution with as many groups as channels is depthwise;
    vectors are norm parameters, biases and layer scales. Each group has its `weight_decay`, and the `l2` that `add_l2` adds.
    """
    decaying: list[Tensor] = []
    resting: list[Tensor] = []
    for module in model.modules():
        depthwise = _is_depthwise(module)
        for weight in module.parameters(recurse=False):
            if not weight.requires_grad:
                continue
            decays = recipe.decay_norms if weight.ndim <= 1 else recipe.decay_depthwise or not depthwise
            (decaying if decays else resting).append(weight)
    decoupled = recipe.optimizer == "adamw"
    decay = recipe.weight_decay if decoupled else recipe.weight_decay + recipe.l2
    groups = [
        {"params": decaying, "weight_decay": decay, "l2": recipe.l2 if decoupled else 0.0},
        {"params": resting, "weight_decay": 0.0, "l2": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _is_depthwise(module: nn.Module) -> bool:
    if isinstance(module, Layer):
        return module.depthwise
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1


@torch.no_grad()
def add_l2(optimizer: torch.optim.Optimizer) -> None:
    """Add `l2` times the weight to each gradient, for optimizers whose own weight decay is decoupled."""
    for group in optimizer.param_groups:
        if group["l2"]:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            torch._foreach_add_([weight.grad for weight in weights], weights, alpha=group["l2"])


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int, *, steps: int = 0) -> float:
    """The learning rate at a step.

    Warm-up is linear, over at most half of the steps. Exponential decay counts from step 0, as in TensorFlow; cosine decay
    starts where the warm-up ends.

    Args:
        recipe: provides the schedule.
        step: counted from 0.
        steps_per_epoch: converts the recipe's epochs to steps.
        steps: length of the whole training, if it differs from all epochs.
    """
    total = steps or recipe.epochs * steps_per_epoch
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total // 2)
    if step < warmup:
        share = recipe.warmup_start + (1 - recipe.warmup_start) * step / warmup
    elif recipe.schedule == "poly":
        share = max(0.0, 1 - step / total) ** recipe.poly_power
    elif recipe.schedule == "cosine":
        done = min((step - warmup) / max(total - warmup, 1), 1.0)
        share = recipe.cosine_floor + (1 - recipe.cosine_floor) * (1 + math.cos(math.pi * done)) / 2
    elif recipe.schedule == "exponential":
        share = recipe.decay_factor ** math.floor(step / (steps_per_epoch * recipe.decay_every_epochs) + 1e-9)
    else:
        share = 1.0
    return recipe.learning_rate * share


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class Average:
    """Exponential moving average of a module's weights and running statistics (V2 and V3: decay 0.9999).

    Early steps use a lower decay, (1 + step) / (10 + step) as with TensorFlow's `num_updates`, so the first weights are soon
    forgotten.

    Args:
        module: the module to average.
        decay: the share of the old average that each step keeps, at most.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live = {name: tensor for name, tensor in module.state_dict().items() if tensor.is_floating_point()}
        self.tensors = {name: tensor.detach().clone() for name, tensor in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average with the module's values after a step, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.tensors.values()), list(self._live.values()), 1 - decay)

    @contextmanager
    @torch.no_grad()
    def applied(self) -> Iterator[None]:
        """Put the averaged values into the module inside the block, and restore its own values after it."""
        live, average = list(self._live.values()), list(self.tensors.values())
        own = [tensor.clone() for tensor in live]
        torch._foreach_copy_(live, average)
        try:
            yield
        finally:
            torch._foreach_copy_(live, own)

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Load saved `tensors` to continue from."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])
