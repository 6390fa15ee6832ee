"""Batch norms that were folded into their convolutions: represented as identities, and restored for fine-tuning.

A file for deployment has no batch norms, only biases. Each such bias is held by a batch norm that is otherwise an identity. For
further training, `reinsert` gives each batch norm the statistics of its input, and adapts its weight and bias so that its
output stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mobilenets.errors import WeightsError


def folded_norm(bias: Tensor, eps: float) -> dict[str, Tensor]:
    """The parts of a batch norm that only adds a bias: 1 * (x - 0) / sqrt((1 - eps) + eps) + bias."""
    ones = torch.ones_like(bias)
    return {"weight": ones, "bias": bias.clone(), "running_mean": torch.zeros_like(bias), "running_var": ones - eps}


def folded(model: nn.Module) -> bool:
    """Whether the model has batch norms that are identities with a bias, so that training it needs `reinsert` first."""
    return bool(_folded(model))


@torch.no_grad()
def reinsert(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give every folded batch norm the observed mean and variance as running statistics; the model's outputs stay the same.

    Each batch norm computes the same before and after, so a single pass can observe all layers. The model is changed in place.
    Batch norms that are not identities, such as those of a new head, stay unchanged.

    Args:
        model: a model with folded batch norms; its mode is restored afterwards.
        batches: preprocessed images, N C H W, enough for stable statistics; a few hundred images are.

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
    """Set new statistics, and the weight and bias with which the batch norm's output stays the same."""
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
