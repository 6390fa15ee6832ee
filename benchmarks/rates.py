"""Run several ways of doing the same work in turn, and report the speed of each. Every speed benchmark uses this."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import onnxruntime
import torch
import torchvision

Answer = TypeVar("Answer")

OURS = "mobilenets"
WARM = 16  # images each way processes before timing starts


def measure(
    ways: Mapping[str, Callable[[Sequence[Path]], Answer]], paths: Sequence[Path], *, rounds: int
) -> tuple[dict[str, Answer], dict[str, object]]:
    """Run every way on all images, `rounds` times in turn, and print the images per second of each.

    Args:
        ways: functions from files to answers; `OURS` and its peers.
        paths: the images.
        rounds: the median over the rounds counts.

    Returns:
        The last answers of each way, and the summary that `summary` makes.
    """
    for way in ways.values():
        way(paths[:WARM])
    answers: dict[str, Answer] = {}

    def run(name: str) -> None:
        answers[name] = ways[name](paths)

    rates = alternate({name: partial(run, name) for name in ways}, images=len(paths), rounds=rounds)
    return answers, {**summary(rates), "images": len(paths)}


def alternate(ways: Mapping[str, Callable[[], object]], *, images: int, rounds: int) -> dict[str, list[float]]:
    """Time every way once per round, print the median and spread of each, and return the images per second of every round.

    Args:
        ways: each processes `images` images when called.
        images: how many images one call processes.
        rounds: how often each way runs. The ways alternate, so that a change in the machine's speed meets all of them.
    """
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            rates[name].append(images / (time.perf_counter() - start))
        line = ", ".join(f"{name} {measured[-1]:.1f}" for name, measured in rates.items())
        print(f"round {i + 1} of {rounds}, images per second: {line}", file=sys.stderr)
    for name, measured in rates.items():
        print(
            json.dumps(
                {"what": name, "images_per_second": round(statistics.median(measured), 1), "spread": spread(measured, 1)}
            )
        )
    return rates


def summary(rates: Mapping[str, Sequence[float]], *, ours: str = OURS) -> dict[str, object]:
    """Our speed divided by that of the fastest peer, round by round, and the machine and versions it was measured with."""
    fastest = max((name for name in rates if not name.startswith(OURS)), key=lambda name: statistics.median(rates[name]))
    ratios = [our / their for our, their in zip(rates[ours], rates[fastest], strict=True)]
    return {
        "ratio": round(statistics.median(ratios), 2),
        "ratio_spread": spread(ratios, 2),
        "beside": fastest,
        "rounds": len(ratios),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
        "versions": {
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
    }


def spread(values: Sequence[float], digits: int) -> list[float]:
    """The smallest and the largest value, rounded."""
    return [round(min(values), digits), round(max(values), digits)]
