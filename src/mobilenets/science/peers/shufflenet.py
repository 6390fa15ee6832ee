"""ShuffleNet (arXiv:1707.01083), to which the V2 paper compares itself; torchvision has only its second version."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUPS = 3
UNITS = (4, 8, 4)
"""Of each stage (Table 1)."""
CHANNELS = {  # scale: of the stem and of each stage, as in the authors' code; the stem grows only with the last
    1.0: (24, 240, 480, 960),
    1.5: (24, 360, 720, 1440),
    2.0: (48, 480, 960, 1920),
}
REDUCTION = 4
"""The bottleneck of a unit has a quarter of its output channels."""


class ShuffleNet(nn.Sequential):
    """ShuffleNet with three groups.

    Args:
        scale: a key of `CHANNELS`; 1.5 and 2 are the "ShuffleNet (1.5)" and "(x2)" of the V2 paper's Table 4.
        classes: of the classifier.
    """

    def __init__(self, scale: float, classes: int = 1000) -> None:
        units: list[nn.Module] = []
        stem, *stages = CHANNELS[scale]
        c_in = stem
        for stage, (count, c_out) in enumerate(zip(UNITS, stages, strict=True)):
            for i in range(count):
                # The first pointwise convolution of all is a full one: it has few input channels.
                first_groups = 1 if stage == 0 and i == 0 else GROUPS
                units.append(ShuffleUnit(c_in, c_out, stride=2 if i == 0 else 1, first_groups=first_groups))
                c_in = c_out
        super().__init__(
            *_conv_norm(3, stem, 3, stride=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, padding=1),
            *units,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(c_in, classes),
        )


class ShuffleUnit(nn.Module):
    """A grouped pointwise convolution, a channel shuffle, a depthwise and another grouped convolution (Figure 2).

    Args:
        c_in, c_out: channels. Under stride the shortcut is pooled and concatenated, so that the branch makes `c_out - c_in`.
        stride: 1 or 2.
        first_groups: of the first convolution.
    """

    def __init__(self, c_in: int, c_out: int, *, stride: int, first_groups: int = GROUPS) -> None:
        super().__init__()
        narrow = c_out // REDUCTION
        made = c_out - c_in if stride > 1 else c_out
        self.stride = stride
        self.reduce = _conv_norm(c_in, narrow, 1, groups=first_groups)
        self.depthwise = _conv_norm(narrow, narrow, 3, stride=stride, groups=narrow)
        self.expand = _conv_norm(narrow, made, 1, groups=GROUPS)

    def forward(self, x: Tensor) -> Tensor:
        """The unit's output, N c_out H W."""
        y = shuffled(functional.relu(self.reduce(x)))
        y = self.expand(self.depthwise(y))
        if self.stride > 1:
            return functional.relu(torch.cat([functional.avg_pool2d(x, 3, 2, padding=1), y], dim=1))
        return functional.relu(x + y)


def shuffled(x: Tensor) -> Tensor:
    """The channels in the order that mixes the groups, N C H W."""
    n, c, h, w = x.shape
    return x.view(n, GROUPS, c // GROUPS, h, w).transpose(1, 2).reshape(n, c, h, w)


def _conv_norm(c_in: int, c_out: int, kernel: int, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out))
