"""Images per second of folder prediction, JPEG decoding included, beside a plain torchvision script in the same run.

Both run one MobileNetV2 with the same weights, on the same files, at 224 px, alternating:

- torchvision: its model in evaluation mode under `inference_mode`, its ImageNet transforms (shorter side 256, center crop
  224, normalize), and a DataLoader with batches of 32 and 0, 1 or 2 workers. The fastest of these counts.
- mobilenets: the weights imported, exported to ONNX, or with `--precision int8` quantized for the native engine, and run by
  `Predictor.stream`, as `mobilenets predict FOLDER` does.

Without `--weights` the weights are random, with batch norm statistics of some of the images, so that answers differ from
image to image. Afterwards the answers are compared; the exit code is 1 if fewer than 99% of the top-1 labels agree, in
8-bit integers half of them: random weights give answers that are close to each other.

    python benchmarks/folder_prediction.py PHOTOS
    python benchmarks/folder_prediction.py PHOTOS --precision int8
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from peers import Photos, images_in, observe
from rates import OURS, measure
from torch import nn
from torch.utils.data import DataLoader

from mobilenets.deploy import file
from mobilenets.deploy.quantize.quantize import quantize
from mobilenets.exporters.lower import lower
from mobilenets.exporters.onnx import export_onnx
from mobilenets.model import Model
from mobilenets.runtime.classify import Classification
from mobilenets.runtime.images.prepare import load_input
from mobilenets.runtime.predictor import Predictor
from mobilenets.weights.assemble import assemble
from mobilenets.weights.torchvision import classify as importer

TRANSFORMS = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1.transforms()
BATCH = 32
WORKERS = (0, 1, 2)
OBSERVED = 64
LEAST_SAME = {"float32": 0.99, "int8": 0.5}

Logits = NDArray[np.float32]


def main() -> None:
    """Print the images per second of each, the ratio, and how far the answers agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of images")
    parser.add_argument("--most", type=int, default=500, help="how many images to take, in the order of their names")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=list(LEAST_SAME), default="float32")
    parser.add_argument("--weights", type=Path, help="a state dict of torchvision's mobilenet_v2")
    options = parser.parse_args()
    paths = images_in(options.photos, options.most)
    peer = torchvision_model(paths, options.weights)
    ways: dict[str, Callable[[Sequence[Path]], Logits]] = {
        f"torchvision, {workers} workers": partial(with_torchvision, peer, workers=workers) for workers in WORKERS
    }
    with tempfile.TemporaryDirectory() as folder:
        make = {"float32": exported, "int8": quantized}[options.precision]
        predictor = make(imported(peer), Path(folder), paths[:OBSERVED])
        ways[OURS] = partial(with_mobilenets, predictor)
        answers, summary = measure(ways, paths, rounds=options.rounds)
    ours, theirs = answers[OURS], answers[str(summary["beside"])]
    same = float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean())
    difference = np.abs(ours - theirs).max(axis=1)
    agreement = {
        "same_top1": same,
        "largest_difference": float(difference.max()),
        "median_difference": float(np.median(difference)),
        "largest_logit": float(np.abs(theirs).max()),
        "threads": predictor.threads,
    }
    print(json.dumps({**summary, **agreement}))
    if same < LEAST_SAME[options.precision]:
        sys.exit(f"only {same:.1%} of the answers are the same")


def with_torchvision(model: nn.Module, paths: Sequence[Path], *, workers: int) -> Logits:
    """The logits of every image, N classes."""
    loader = DataLoader(Photos(paths, TRANSFORMS), batch_size=BATCH, num_workers=workers)
    with torch.inference_mode():
        logits: Logits = torch.cat([model(batch) for batch in loader]).numpy()
    return logits


def with_mobilenets(predictor: Predictor, paths: Sequence[Path]) -> Logits:
    """The logits of every image, N classes."""
    logits = []
    for result in predictor.stream(paths):
        assert isinstance(result.prediction, Classification), result.error
        logits.append(result.prediction.logits)
    return np.stack(logits)


def torchvision_model(paths: Sequence[Path], weights: Path | None) -> nn.Module:
    """torchvision's MobileNetV2 in evaluation mode, random with fitting batch norm statistics if there are no weights."""
    torch.manual_seed(0)
    model: nn.Module = torchvision.models.mobilenet_v2(weights=None)
    if weights is not None:
        model.load_state_dict(torch.load(weights, weights_only=True))
        return model.eval()
    nn.init.normal_(model.get_submodule("classifier.1").weight, std=0.2)  # type: ignore[arg-type]  # a parameter
    return observe(model, list(DataLoader(Photos(paths, TRANSFORMS).every(OBSERVED), batch_size=BATCH)))


def imported(peer: nn.Module) -> Model:
    """The same network through our importer."""
    network = importer.read(peer.state_dict(), "torchvision's mobilenet_v2")
    return assemble(network, labels=[f"class {i}" for i in range(1000)], weights="benchmark")


def exported(model: Model, folder: Path, paths: Sequence[Path]) -> Predictor:
    """The network by ONNX Runtime; `paths` are not needed."""
    export_onnx(model, folder / "model.onnx")
    return Predictor.open(folder / "model.onnx")


def quantized(model: Model, folder: Path, paths: Sequence[Path]) -> Predictor:
    """The network in 8-bit integers by the native engine, calibrated on some images."""
    images = np.stack([load_input(path, model.spec.input) for path in paths])
    file.save(quantize(lower(model), images).graph, folder / "model.graph")
    return Predictor.open(folder / "model.graph")


if __name__ == "__main__":
    main()
