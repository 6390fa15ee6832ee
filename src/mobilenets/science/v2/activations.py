"""The number of positive channels in each expansion, with trained weights on real photos (V2, Appendix A, Figure 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mobilenets.data.walk import SUFFIXES
from mobilenets.errors import DataError, WeightsError
from mobilenets.int8.images import inputs
from mobilenets.reports.plots import ACCENT, MUTED, WRONG, figure_of, legend_above
from mobilenets.science.entry import Asked, Comparison, Result
from mobilenets.specs.rows import Bottleneck

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

    from mobilenets.model import Model
    from mobilenets.specs.model import InputContract

THRESHOLD = 1 / 6
"""With the paper's expansion ratio of 6, the input has a sixth of the channels; as many must be positive to lose nothing."""
PHOTOS, BATCH = 50, 10


@dataclass(frozen=True, slots=True)
class Positive:
    """The share of an expansion's channels that are positive, over all positions of all photos, 0 to 1.

    Args:
        channels: channels of the expansion.
        least, mean, most: minimum, mean and maximum of that share.
    """

    channels: int
    least: float
    mean: float
    most: float


def figure_7(asked: Asked) -> Result:
    """Positive channels per layer: least, mean, most, before and after training."""
    from mobilenets.model import create
    from mobilenets.weights import load

    assert asked.weights is not None  # `check_options` asks for both
    assert asked.images is not None
    trained = load.load(str(asked.weights))
    spec = trained.spec.backbone
    if not any(isinstance(row, Bottleneck) for row in spec.rows):
        raise WeightsError(
            f"'{asked.weights}' is a {spec.name}, which has no bottlenecks", hint="give weights of a MobileNetV2"
        )
    images = photos(asked.images, trained.spec.input, asked)
    first = create(trained.spec).train()  # batch norms use the statistics of the batch, as in the first step of a training
    found = {"at first": positive(first, images), "trained": positive(trained, images)}
    rows = [
        (moment, i, layer.channels, layer.least, layer.mean, layer.most)
        for moment, layers in found.items()
        for i, layer in enumerate(layers, 1)
    ]
    figure, _ = figure_of(10.5, 3.8, columns=2)
    for axes, (moment, layers) in zip(figure.axes, found.items(), strict=True):
        _draw(axes, moment, layers)
    legend_above(figure.axes[0], 4)
    before, after = found.values()
    below = sum(layer.least <= THRESHOLD for layer in after)
    comparison = Comparison(
        "trained layers not above the threshold everywhere",
        2,
        below,
        "layers",
        "V2, Appendix A: all but two are above",
    )
    spread = [np.mean([layer.most - layer.least for layer in layers]) for layers in (before, after)]
    means = [sum(layer.mean > THRESHOLD for layer in layers) for layers in (before, after)]
    findings = (
        f"On {len(images)} photos, the share of positive channels is above 1/6 at every position in {len(after) - below} of "
        f"{len(after)} expansions after training, and in {sum(layer.least > THRESHOLD for layer in before)} before.",
        f"Averaged over the positions, it is above 1/6 in {means[1]} expansions after training, and in {means[0]} before.",
        f"From the least to the most positive position, it spans {spread[1]:.2f} of the channels after training and "
        f"{spread[0]:.2f} before, averaged over the layers.",
    )
    caption = (
        f"Share of the channels that are positive after each expansion's ReLU6, over all positions of {len(images)} photos. "
        "Dashed: 1/6, the channels of the expansion's input."
    )
    return Result(("moment", "layer", "channels", "least", "mean", "most"), rows, figure, caption, (comparison,), findings)


def photos(folder: Path, contract: InputContract, asked: Asked) -> NDArray[np.float32]:
    """The first photos of a folder, preprocessed, N C H W.

    Raises:
        DataError: the folder is missing or holds no image that can be read.
    """
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not files:
        what = "holds no images" if folder.is_dir() else "is not a folder"
        raise DataError(f"'{folder}' {what}", hint="--images takes a folder of photos")
    with asked.telling.progress("reading photos", min(PHOTOS, len(files))) as advance:
        return inputs(files, contract, PHOTOS, advance=advance).values


def positive(model: Model, images: NDArray[np.float32]) -> list[Positive]:
    """For each expansion of a network, how many of its channels are positive."""
    import torch

    from mobilenets.net.blocks import BottleneckBlock, ConvNorm

    blocks = [
        (block.expand.conv.out_channels, block.expand)
        for block in model.backbone.blocks
        if isinstance(block, BottleneckBlock) and isinstance(block.expand, ConvNorm)
    ]
    shares: list[list[NDArray[np.float32]]] = [[] for _ in blocks]
    handles = [expand.register_forward_hook(_recorder(kept)) for (_, expand), kept in zip(blocks, shares, strict=True)]
    try:
        with torch.inference_mode():
            for i in range(0, len(images), BATCH):
                model.backbone(torch.from_numpy(images[i : i + BATCH]))
    finally:
        for handle in handles:
            handle.remove()
    found = []
    for (channels, _), kept in zip(blocks, shares, strict=True):
        values = np.concatenate([share.ravel() for share in kept])
        found.append(Positive(channels, float(values.min()), float(values.mean()), float(values.max())))
    return found


def _recorder(kept: list[NDArray[np.float32]]) -> Callable[..., None]:
    """A hook that keeps the share of positive channels at each position, N H W."""

    def hook(_module: object, _inputs: object, output: Tensor) -> None:
        kept.append((output > 0).float().mean(dim=1).numpy())

    return hook


def _draw(axes: Axes, moment: str, layers: Sequence[Positive]) -> None:
    places = range(1, len(layers) + 1)
    axes.plot(places, [layer.most for layer in layers], "^-", color=MUTED, markersize=4, linewidth=1, label="most")
    axes.plot(places, [layer.mean for layer in layers], "o-", color=ACCENT, label="mean")
    axes.plot(places, [layer.least for layer in layers], "v-", color=MUTED, markersize=4, linewidth=1, label="least")
    axes.axhline(THRESHOLD, color=WRONG, linestyle="--", linewidth=1.2, label="1/6")
    axes.set_ylim(-0.03, 1.03)
    axes.set_title(moment, fontsize=10, loc="right")
    axes.set_xlabel("expansion")
    axes.set_ylabel("positive channels, share")
    axes.locator_params(axis="x", integer=True)
