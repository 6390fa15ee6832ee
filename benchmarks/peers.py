"""What torchvision runs in the prediction benchmarks: image files as a dataset, and random networks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from mobilenets.data.walk import SUFFIXES


class Photos(Dataset[Tensor]):
    """Image files as tensors.

    Args:
        paths: the files.
        transform: makes the network's input, C H W, from an RGB image.
    """

    def __init__(self, paths: Sequence[Path], transform: Callable[[Image.Image], Tensor]) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Tensor:
        with Image.open(self.paths[i]) as image:
            return self.transform(image.convert("RGB"))

    def every(self, count: int) -> Photos:
        """At most `count` of the images, evenly spaced."""
        return Photos(self.paths[:: max(1, len(self.paths) // count)][:count], self.transform)


def images_in(folder: Path, most: int) -> list[Path]:
    """The first images of a folder in the order of their names; the program ends if there are none."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[:most]
    if not paths:
        sys.exit(f"'{folder}' has no images")
    return paths


def average_norms(model: nn.Module) -> None:
    """Make the batch norms of a random network average plainly over everything they see in training mode."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None


def observe(model: nn.Module, batches: Sequence[Tensor]) -> nn.Module:
    """The network in evaluation mode, with batch norm statistics of these batches."""
    average_norms(model)
    with torch.inference_mode():
        for x in batches:
            model.train()(x)
    return model.eval()
