"""Batch norms that were folded into their convolutions: carried as identities, put back for fine-tuning.

A file for deployment has no batch norms, only biases. Such a bias is carried by a norm that is the identity plus the bias. To
train on, `reinsert` gives each norm the statistics of what passes it, and the weight and bias that leave its output as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mobilenets.errors import WeightsError


def folded_norm(bias: Tensor, eps: float) -> dict[str, Tensor]:
    """The parts of a norm that adds a bias and nothing else: 1 * (x - 0) / sqrt((1 - eps) + eps) + bias."""
    ones = torch.ones_like(bias)
    return {"weight": ones, "bias": bias.clone(), "running_mean": torch.zeros_like(bias), "running_var": ones - eps}


def folded(model: nn.Module) -> bool:
    """Whether norms of the model are identities that carry biases, so that training it needs `reinsert` first."""
    return bool(_folded(model))


@torch.no_grad()
def reinsert(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give every folded norm the observed mean and variance as running statistics; the model's outputs stay as they were.

    Each norm is an identity before and after, so one pass observes every layer as layer after layer would. Worked in place.
    Norms that are no identities, those of a fresh head, stay as they are.

    Args:
        model: with folded norms; it is left in the mode it was in.
        batches: prepared images, N C H W, as many as give stable statistics; some hundred images do.

    Raises:
        WeightsError: there are no batches.
    """
    norms = _folded(model)
    sums = {norm: (torch.zeros(norm.num_features, dtype=torch.float64),) * 2 for norm in norms}
    counts = dict.fromkeys(norms, 0)

    def observe(norm: nn.BatchNorm2d) -> Callable[[nn.Module, Any], None]:  # Any: as torch types hooks
        def hook(_: nn.Module, inputs: Any) -> None:
            x = inputs[0].detach()  # N C H W
            pixels = x.numel() // x.shape[1]
            var, mean = (part.double().cpu() for part in torch.var_mean(x.float(), (0, 2, 3), correction=0))
            total, squares = sums[norm]
            sums[norm] = (total + pixels * mean, squares + pixels * (var + mean.square()))
            counts[norm] += pixels

        return hook

    hooks = [norm.register_forward_pre_hook(observe(norm)) for norm in norms]
    training = model.training
    model.eval()
    try:
        for batch in batches:
            model(batch)
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)
    if norms and not min(counts.values()):
        raise WeightsError("batch norms cannot be put back without images to observe")
    for norm in norms:
        total, squares = sums[norm]
        mean = total / counts[norm]
        var = (squares / counts[norm] - mean.square()).clamp(min=0)
        _keep_output(norm, mean, var)


def _keep_output(norm: nn.BatchNorm2d, mean: Tensor, var: Tensor) -> None:
    """New statistics for a norm, with the weight and bias that make its output what it was."""
    old_mean, old_var = _statistics(norm)
    device = norm.weight.device
    slope = norm.weight.double().cpu() / (old_var + norm.eps).sqrt()
    offset = norm.bias.double().cpu() - old_mean * slope
    norm.weight.copy_((slope * (var + norm.eps).sqrt()).to(device))
    norm.bias.copy_((offset + slope * mean).to(device))
    for buffer, value in zip((norm.running_mean, norm.running_var), (mean, var), strict=True):
        assert buffer is not None
        buffer.copy_(value.to(device))


def _is_identity(norm: nn.BatchNorm2d) -> bool:
    mean, var = _statistics(norm)
    near = torch.full_like(var, 1 - norm.eps)
    return bool((mean == 0).all() and (norm.weight == 1).all() and torch.allclose(var, near, rtol=0, atol=1e-7))


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Running mean and variance, in double precision."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean.double().cpu(), norm.running_var.double().cpu()


def _folded(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d) and _is_identity(module)]
