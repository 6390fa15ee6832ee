"""Training throughput of MobileNetV2 beside torchvision's, same machine, same run, alternating.

One step is forward, backward and optimizer on a random batch of 32 at 224 px, with 1000 classes.

- torchvision: `mobilenet_v2()` as its reference script trains it by default: float32, contiguous, SGD with momentum 0.9.
- mobilenets: the network, precision, memory format and optimizer that `mobilenets train` uses on this machine.

    python benchmarks/training_throughput.py
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from mobilenets.model import create
from mobilenets.specs.families import backbone
from mobilenets.specs.model import ModelSpec

Step = Callable[[], None]


def main() -> None:
    """Print images per second of each and the ratio, pair by pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    images = torch.randn(options.batch, 3, options.size, options.size)
    labels = torch.randint(0, 1000, (options.batch,))
    steps = {
        "torchvision": torchvision_step(images, labels),
        "mobilenets": our_step(images, labels, precision=torch.bfloat16),
        "mobilenets float32": our_step(images, labels, precision=torch.float32),
    }
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for name in steps:
        steps[name]()  # warm-up
    for _ in range(options.pairs):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            rates[name].append(options.batch / (time.perf_counter() - began))
    for name, measured in rates.items():
        ratios = [ours / theirs for ours, theirs in zip(measured, rates["torchvision"], strict=True)]
        report = {
            "what": name,
            "images_per_second": round(statistics.median(measured), 1),
            "spread": [round(min(measured), 1), round(max(measured), 1)],
            "ratio": round(statistics.median(ratios), 2),
            "ratio_spread": [round(min(ratios), 2), round(max(ratios), 2)],
        }
        print(json.dumps(report))
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), "machine": platform.machine()}))


def torchvision_step(images: Tensor, labels: Tensor) -> Step:
    """One training step with the defaults of torchvision's reference script."""
    model = torchvision.models.mobilenet_v2().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.045, momentum=0.9, weight_decay=4e-5)
    return lambda: train_step(model, optimizer, images, labels, torch.float32)


def our_step(images: Tensor, labels: Tensor, *, precision: torch.dtype) -> Step:
    """One training step as `mobilenets train` takes it."""
    spec = ModelSpec(backbone("mobilenet_v2"), labels=tuple(str(i) for i in range(1000)))
    model = create(spec).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    images = images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.045, momentum=0.9, weight_decay=4e-5)
    return lambda: train_step(model, optimizer, images, labels, precision)


def train_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, precision: torch.dtype
) -> None:
    """Forward, backward, update."""
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        loss = functional.cross_entropy(model(images).float(), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


if __name__ == "__main__":
    main()
