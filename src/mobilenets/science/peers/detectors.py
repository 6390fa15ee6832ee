"""Detectors that the V2 paper's Table 6 lists: SSD on VGG 16 (arXiv:1512.02325) and YOLOv2 (arXiv:1612.08242), for COCO.

They give the raw outputs of each map, which is all that a count needs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 80
"""Of COCO."""

# Channels of the extra layers: first 1 x 1, then 3 x 3 (the last of SSD512 4 x 4) with a stride and a padding.
# fmt: off
SSD300 = (
    #    1x1  3x3  k  s  p
    (256, 512, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 3, 1, 0),
    (128, 256, 3, 1, 0),
)
SSD512 = (
    (256, 512, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 3, 2, 1),
    (128, 256, 4, 1, 1),
)
# fmt: on
EXTRAS = {300: SSD300, 512: SSD512}
ANCHORS = {300: (4, 6, 6, 6, 4, 4), 512: (4, 6, 6, 6, 6, 4, 4)}
VGG_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VggSsd(nn.Module):
    """SSD300 or SSD512 on VGG 16.

    Args:
        size: 300 or 512.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        c_in, stages = 3, []
        for channels in VGG_STAGES:
            layers: list[nn.Module] = []
            for c_out in channels:
                layers += [nn.Conv2d(c_in, c_out, 3, padding=1), nn.ReLU()]
                c_in = c_out
            stages.append(nn.Sequential(*layers))
        self.stages = nn.ModuleList(stages)
        self.scale = nn.Parameter(torch.full((512,), 20.0))  # of the normalized map of the fourth stage
        self.dense = nn.Sequential(  # VGG's two dense layers as convolutions
            nn.Conv2d(512, 1024, 3, padding=6, dilation=6), nn.ReLU(), nn.Conv2d(1024, 1024, 1), nn.ReLU()
        )
        c_in, maps = 1024, [512, 1024]
        extras = []
        for narrow, c_out, kernel, stride, padding in EXTRAS[size]:
            wide = nn.Conv2d(narrow, c_out, kernel, stride=stride, padding=padding)
            extras.append(nn.Sequential(nn.Conv2d(c_in, narrow, 1), nn.ReLU(), wide, nn.ReLU()))
            c_in = c_out
            maps.append(c_out)
        self.extras = nn.ModuleList(extras)
        self.predictors = nn.ModuleList(
            nn.Conv2d(c, anchors * (4 + CLASSES + 1), 3, padding=1) for c, anchors in zip(maps, ANCHORS[size], strict=True)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Offsets and logits of each map, N anchors·85 H W."""
        maps = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i == 3:
                maps.append(functional.normalize(x) * self.scale[:, None, None])
            x = functional.max_pool2d(x, 2, ceil_mode=True) if i < 4 else functional.max_pool2d(x, 3, 1, padding=1)
        for part in (self.dense, *self.extras):
            x = part(x)
            maps.append(x)
        return tuple(predict(map_) for predict, map_ in zip(self.predictors, maps, strict=True))


DARKNET_STAGES = (
    ((32, 3),),
    ((64, 3),),
    ((128, 3), (64, 1), (128, 3)),
    ((256, 3), (128, 1), (256, 3)),
    ((512, 3), (256, 1), (512, 3), (256, 1), (512, 3)),
    ((1024, 3), (512, 1), (1024, 3), (512, 1), (1024, 3)),
)
"""Channels and kernels of Darknet-19 (Table 6); a maximum over 2 x 2 stands between two stages."""
YOLO_ANCHORS = 5


class YoloV2(nn.Module):
    """YOLOv2 on Darknet-19.

    Args:
        passthrough: channels that the finer map is reduced to before it joins the coarse one: 64 in the released network for
            COCO. The paper's own has all 512.
    """

    def __init__(self, passthrough: int = 64) -> None:
        super().__init__()
        c_in, stages = 3, []
        for layers in DARKNET_STAGES:
            stages.append(nn.Sequential(*(_dark(c_in if i == 0 else layers[i - 1][0], *layers[i]) for i in range(len(layers)))))
            c_in = layers[-1][0]
        self.stages = nn.ModuleList(stages)
        self.coarse = nn.Sequential(_dark(1024, 1024, 3), _dark(1024, 1024, 3))
        self.fine = _dark(512, passthrough, 1) if passthrough < 512 else nn.Identity()
        self.joined = _dark(1024 + 4 * passthrough, 1024, 3)
        self.predict = nn.Conv2d(1024, YOLO_ANCHORS * (5 + CLASSES), 1)

    def forward(self, x: Tensor) -> Tensor:
        """Offsets, confidences and logits, N 425 H W."""
        for i, stage in enumerate(self.stages):
            x = stage(functional.max_pool2d(x, 2) if i else x)
            if i == 4:
                fine = functional.pixel_unshuffle(self.fine(x), 2)
        out: Tensor = self.predict(self.joined(torch.cat([fine, self.coarse(x)], dim=1)))
        return out


def _dark(c_in: int, c_out: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.LeakyReLU(0.1))
