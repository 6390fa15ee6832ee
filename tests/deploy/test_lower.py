"""What lowering leaves: how many operators, where activations go, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from tests.deploy.conftest import SPECS, trained
from torch import Tensor, nn

from mobilenets.deploy import operators as op
from mobilenets.deploy import reference
from mobilenets.errors import GraphError
from mobilenets.exporters.lower import lower
from mobilenets.model import Model, create


def with_block(block: nn.Module) -> Model:
    """A V1 whose first block is followed by another module."""
    model = trained(create(SPECS["v1"]()))
    model.backbone.blocks[0] = nn.Sequential(model.backbone.blocks[0], block)
    return model.eval()


def test_v2_is_its_convolutions_shortcuts_pool_and_classifier() -> None:
    kinds = [type(operator) for operator in lower(create(SPECS["v2"]())).operators]
    assert {kind: kinds.count(kind) for kind in kinds} == {  # V2, Table 2: 17 bottlenecks, the first without expansion
        op.Conv: 1 + 16 + 17 + 1,
        op.Depthwise: 17,
        op.Add: 10,
        op.Pool: 1,
        op.Flatten: 1,
        op.Dense: 1,
    }


class ReadTwice(nn.Module):
    """A value that is read as it is and through an activation, which can therefore not be fused."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        joined: Tensor = x + nn.functional.gelu(x) + self.norm(x)
        return joined


def test_what_is_read_twice_keeps_an_operator_of_its_own() -> None:
    model = with_block(ReadTwice())
    graph = lower(model)
    assert op.Activation in {type(operator) for operator in graph.operators}
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model(x).numpy()
    assert abs(reference.run(graph, x.numpy())["logits"] - expected).max() <= 1e-5 * abs(expected).max()


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        (nn.Conv2d(8, 8, 1, groups=2), "in 2 groups"),
        (nn.Hardtanh(-1, 1), "cuts values to -1"),
        (nn.PixelShuffle(1), "pixel_shuffle"),
    ],
)
def test_what_no_operator_stands_for_is_refused_by_name(block: nn.Module, problem: str) -> None:
    with pytest.raises(GraphError, match=problem):
        lower(with_block(block))
