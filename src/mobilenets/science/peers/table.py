"""The networks of other papers, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mobilenets.table import Table

if TYPE_CHECKING:
    from torch import nn


def _torchvision(name: str, **arguments: object) -> nn.Module:
    """A classifier of torchvision with 1000 classes and random weights."""
    from torchvision import models

    module: nn.Module = getattr(models, name)(weights=None, **arguments)
    return module


def _shufflenet(scale: float) -> nn.Module:
    from mobilenets.science.peers.shufflenet import ShuffleNet

    return ShuffleNet(scale)


def _nasnet() -> nn.Module:
    from mobilenets.science.peers.nasnet import NasNetMobile

    return NasNetMobile()


def _ssd(size: int) -> nn.Module:
    from mobilenets.science.peers.detectors import VggSsd

    return VggSsd(size)


def _yolo(passthrough: int) -> nn.Module:
    from mobilenets.science.peers.detectors import YoloV2

    return YoloV2(passthrough)


# fmt: off
PEERS: Table[Callable[[], nn.Module]] = Table("peer network", {
    "googlenet":       lambda: _torchvision("googlenet", init_weights=False),
    "vgg16":           lambda: _torchvision("vgg16", init_weights=False),
    "squeezenet":      lambda: _torchvision("squeezenet1_0"),
    "alexnet":         lambda: _torchvision("alexnet"),
    "shufflenet_1.5":  lambda: _shufflenet(1.5),
    "shufflenet_2":    lambda: _shufflenet(2.0),
    "nasnet_a_mobile": _nasnet,
})
DETECTORS: Table[tuple[Callable[[], nn.Module], int]] = Table("peer detector", {  # with the size of the input, px
    "ssd300_vgg16":    (lambda: _ssd(300), 300),
    "ssd512_vgg16":    (lambda: _ssd(512), 512),
    "yolo_v2":         (lambda: _yolo(64), 416),
    "yolo_v2_wide":    (lambda: _yolo(512), 416),
})
# fmt: on
"""`PEERS` classify 1000 classes at 224 px. Each call builds one with random weights; nothing is downloaded."""
