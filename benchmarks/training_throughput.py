"""Training throughput of MobileNetV2 beside torchvision's, same machine, same run, alternating.

One step is forward, backward and optimizer on a random batch of 32 at 224 px, with 1000 classes.

- torchvision: `mobilenet_v2()` as its reference script trains it by default: float32, contiguous, SGD with momentum 0.9.
- mobilenets: the network, precision, memory format and optimizer that `mobilenets train` uses on this machine.

    python benchmarks/training_throughput.py
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import torch
import torchvision
from rates import OURS, alternate, summary
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
    for step in steps.values():
        step()  # warm-up
    rates = alternate(steps, images=options.batch, rounds=options.pairs)
    for name in steps:
        if name.startswith(OURS):
            print(json.dumps({"what": name, **summary(rates, ours=name)}))


def torchvision_step(images: Tensor, labels: Tensor) -> Step:
    """One training step with the defaults of torchvision's reference script."""
    model = torchvision.models.mobilenet_v2().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.045, momentum=0.9, weight_decay=4e-5)
    return lambda: train_step(model, optimizer, images, labels, torch.float32)


def our_step(images: Tensor, labels: Tensor, *, precision: torch.dtype) -> Step:
    """One training step as `mobilenets train` takes it."""
    spec = ModelSpec(backbone("mobilenet_v2"), labels=tuple(str(i) for i in range(1000)))
    model = create(spec).train().to(memory_format=torch.channels_last)
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
    loss.backward()  # type: ignore[no-untyped-call]  # torch has no type for it
    optimizer.step()


if __name__ == "__main__":
    main()
