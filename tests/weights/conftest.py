"""Random weights and the distance of two models' logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn


@pytest.fixture(scope="session")
def random_weights() -> Callable[[nn.Module], nn.Module]:
    """Draws every parameter and every running statistic, so that a part that is not copied shows."""

    def draw(model: nn.Module) -> nn.Module:
        torch.manual_seed(7)
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0)
            elif name.endswith(("running_mean", "bias")):
                tensor.normal_(std=0.3)
            elif name.endswith("gamma"):
                tensor.uniform_(0.2, 0.6)
            elif tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(("attn.query.proj.weight", "attn.key.proj.weight")):
                tensor.normal_(std=0.1 / tensor[0].numel() ** 0.5)  # a softmax that is no hard choice
            elif tensor.ndim > 1:
                tensor.normal_(std=(2 / tensor[0].numel()) ** 0.5)
        return model.eval()

    return draw


@pytest.fixture(scope="session")
def difference() -> Callable[..., float]:
    """The largest difference of two models' logits, as a share of the largest logit, over several input sizes."""

    @torch.inference_mode()
    def measure(theirs: nn.Module, ours: nn.Module, *, sizes: Sequence[int], channels: int = 3) -> float:
        worst = 0.0
        for size in sizes:
            images = torch.rand(2, channels, size, size, generator=torch.Generator().manual_seed(size)) * 2 - 1
            expected, found = theirs(images), ours(images)
            assert expected.isfinite().all()
            assert found.isfinite().all()
            assert expected.std(dim=0).max() > 1e-3, "the logits do not depend on the image"
            worst = max(worst, float((expected - found).abs().max() / expected.abs().max()))
        return worst

    return measure
