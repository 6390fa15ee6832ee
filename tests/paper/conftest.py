"""Counting a network once, however many printed rows it stands behind."""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from mobilenets.analysis.layers import LayerGraph
from mobilenets.analysis.trace import trace
from mobilenets.model import Model
from mobilenets.specs.families import BACKBONES
from mobilenets.specs.model import ModelSpec
from mobilenets.specs.scaling import Scaling


@pytest.fixture(scope="session")
def count() -> Callable[[str, float, int, int, Scaling | None], tuple[LayerGraph, int]]:
    """The graph of a network by name, width, input size, classes and scaling; and the gammas and betas among its parameters."""

    @cache
    def built(name: str, width: float, classes: int, scaling: Scaling | None) -> Model:
        spec = BACKBONES[name](width) if scaling is None else BACKBONES[name](width, scaling=scaling)
        with torch.device("meta"):
            return Model(ModelSpec(spec, labels=tuple(str(i) for i in range(classes))))

    @cache
    def counted(name: str, width: float, size: int, classes: int, scaling: Scaling | None) -> tuple[LayerGraph, int]:
        model = built(name, width, classes, scaling)
        norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
        return trace(model, (1, 3, size, size)), sum(x.numel() for norm in norms for x in norm.parameters())

    return counted


@pytest.fixture(scope="session")
def printed(shared: Path) -> Callable[[str], list[dict[str, str]]]:
    """The rows of one file of printed figures."""

    def read(name: str) -> list[dict[str, str]]:
        with (shared / "paper" / name).open(newline="") as file:
            return list(csv.DictReader(file))

    return read
