"""Several ways to the same answers, run in turn; what the prediction benchmarks share."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import onnxruntime
import torch
import torchvision
from torch import nn

from mobilenets.data.entries import SUFFIXES

Answer = TypeVar("Answer")

OURS = "mobilenets"
WARM = 16  # images that each sees before it is timed


def images_in(folder: Path, most: int) -> list[Path]:
    """The first images of a folder by their names; the program ends where there are none."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[:most]
    if not paths:
        sys.exit(f"no images in '{folder}'")
    return paths


def measure(
    ways: Mapping[str, Callable[[Sequence[Path]], Answer]], paths: Sequence[Path], *, rounds: int
) -> tuple[dict[str, Answer], dict[str, object]]:
    """Run every way on all images, one after the other, `rounds` times; print images a second of each.

    Args:
        ways: from files to answers; `OURS` and its peers.
        paths: the images.
        rounds: of which the median counts.

    Returns:
        The last answers of each, and our rate by that of the fastest peer with what else belongs to the claim.
    """
    answers = {name: way(paths[:WARM]) for name, way in ways.items()}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            answers[name] = way(paths)
            rates[name].append(len(paths) / (time.perf_counter() - began))
        line = ", ".join(f"{name} {measured[-1]:.1f}" for name, measured in rates.items())
        print(f"round {i + 1} of {rounds}, images a second: {line}", file=sys.stderr)
    for name, measured in rates.items():
        median, spread = statistics.median(measured), [round(min(measured), 1), round(max(measured), 1)]
        print(json.dumps({"what": name, "images_per_second": round(median, 1), "spread": spread}))
    fastest = max((name for name in rates if name != OURS), key=lambda name: statistics.median(rates[name]))
    ratios = [one / other for one, other in zip(rates[OURS], rates[fastest], strict=True)]
    return answers, {
        "ratio": round(statistics.median(ratios), 2),
        "ratio_spread": [round(min(ratios), 2), round(max(ratios), 2)],
        "beside": fastest,
        "images": len(paths),
        "rounds": rounds,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
        "versions": {
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
    }


def average_norms(model: nn.Module) -> None:
    """Let the batch norms of a random network take the plain average of what passes them in training mode."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
