"""Images per second of folder prediction, JPEG decoding included, beside a plain torchvision script; same run, alternating.

Both run one MobileNetV2 with one set of weights, on the same files, at 224 px:

- torchvision: its model in evaluation mode under `inference_mode`, its ImageNet transforms (shorter side 256, center crop
  224, normalize), a DataLoader with batches of 32 and 0, 1 or 2 workers, of which the fastest counts.
- mobilenets: the weights imported, exported to ONNX, and `Predictor.stream` as `mobilenets predict FOLDER` runs it.

Without `--weights` the weights are random, with batch-norm statistics of some of the images, so that answers differ from
image to image. Afterwards it compares the answers and exits with 1 if fewer than 99% of the top-1 labels agree.

    python benchmarks/folder_prediction.py PHOTOS
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mobilenets.data.entries import SUFFIXES
from mobilenets.exporters.onnx import export_onnx
from mobilenets.runtime.predictor import Predictor
from mobilenets.weights.assemble import assemble
from mobilenets.weights.torchvision import classify as importer

TRANSFORMS = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1.transforms()
BATCH = 32
WORKERS = (0, 1, 2)
LEAST_SAME = 0.99


class Photos(Dataset[Tensor]):
    """Files as the transforms make tensors of them."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Tensor:
        with Image.open(self.paths[i]) as image:
            tensor: Tensor = TRANSFORMS(image.convert("RGB"))
        return tensor


def main() -> None:
    """Print images per second of each, the ratio, and how far the answers agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of images")
    parser.add_argument("--most", type=int, default=500, help="images taken, in the order of their names")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--weights", type=Path, help="a state dict of torchvision's mobilenet_v2")
    options = parser.parse_args()
    paths = sorted(path for path in options.photos.rglob("*") if path.suffix.lower() in SUFFIXES)[: options.most]
    if not paths:
        sys.exit(f"no images in '{options.photos}'")
    peer = torchvision_model(paths, options.weights)
    with tempfile.TemporaryDirectory() as folder:
        predictor = exported(peer, Path(folder) / "model.onnx")
        measure(peer, predictor, paths, rounds=options.rounds)


def measure(peer: nn.Module, predictor: Predictor, paths: list[Path], *, rounds: int) -> None:
    """Run both in turn and print what came of it."""
    seconds: dict[str, list[float]] = {"mobilenets": [], **{f"torchvision, {workers} workers": [] for workers in WORKERS}}
    with_torchvision(peer, paths[:BATCH], workers=0)  # warm-up
    with_mobilenets(predictor, paths[:BATCH])
    for i in range(rounds):
        began = time.perf_counter()
        ours = with_mobilenets(predictor, paths)
        seconds["mobilenets"].append(time.perf_counter() - began)
        for workers in WORKERS:
            began = time.perf_counter()
            theirs = with_torchvision(peer, paths, workers=workers)
            seconds[f"torchvision, {workers} workers"].append(time.perf_counter() - began)
        line = ", ".join(f"{name} {len(paths) / times[-1]:.1f}" for name, times in seconds.items())
        print(f"round {i + 1} of {rounds}, images a second: {line}", file=sys.stderr)
    rates = {name: [len(paths) / one for one in times] for name, times in seconds.items()}
    for name, measured in rates.items():
        report = {
            "what": name,
            "images_per_second": round(statistics.median(measured), 1),
            "spread": [round(min(measured), 1), round(max(measured), 1)],
        }
        print(json.dumps(report))
    fastest = max((name for name in rates if name != "mobilenets"), key=lambda name: statistics.median(rates[name]))
    ratio = statistics.median(one / other for one, other in zip(rates["mobilenets"], rates[fastest], strict=True))
    same = float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean())
    print(
        json.dumps(
            {
                "ratio": round(ratio, 2),
                "beside": fastest,
                "same_top1": same,
                "largest_difference": float(np.abs(ours - theirs).max()),
                "median_difference": float(np.median(np.abs(ours - theirs).max(axis=1))),
                "largest_logit": float(np.abs(theirs).max()),
                "images": len(paths),
                "threads": predictor.threads,
                "machine": platform.processor() or platform.machine(),
                "versions": {
                    "torch": torch.__version__,
                    "torchvision": torchvision.__version__,
                    "onnxruntime": onnxruntime.__version__,
                },
            }
        )
    )
    if same < LEAST_SAME:
        sys.exit(f"only {same:.1%} of the answers are the same")


def with_torchvision(model: nn.Module, paths: list[Path], *, workers: int) -> NDArray[np.float32]:
    """The logits of every image, N classes."""
    loader = DataLoader(Photos(paths), batch_size=BATCH, num_workers=workers)
    with torch.inference_mode():
        return torch.cat([model(batch) for batch in loader]).numpy()


def with_mobilenets(predictor: Predictor, paths: list[Path]) -> NDArray[np.float32]:
    """The logits of every image, N classes."""
    return np.stack([result.prediction.logits for result in predictor.stream(paths) if result.prediction is not None])


def torchvision_model(paths: list[Path], weights: Path | None) -> nn.Module:
    """torchvision's MobileNetV2 in evaluation mode, random with fitting batch-norm statistics if there are no weights."""
    torch.manual_seed(0)
    model: nn.Module = torchvision.models.mobilenet_v2(weights=None)
    if weights is not None:
        model.load_state_dict(torch.load(weights, weights_only=True))
        return model.eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # a plain average
    nn.init.normal_(model.get_submodule("classifier.1").weight, std=0.2)  # type: ignore[arg-type]  # a parameter
    chosen = Photos(paths[:: max(1, len(paths) // 64)])
    with torch.inference_mode():
        for batch in DataLoader(chosen, batch_size=BATCH):
            model.train()(batch)
    return model.eval()


def exported(peer: nn.Module, path: Path) -> Predictor:
    """The same network through our importer and exporter."""
    network = importer.read(peer.state_dict(), "torchvision's mobilenet_v2")
    model = assemble(network, labels=[f"class {i}" for i in range(1000)], weights="benchmark")
    export_onnx(model, path)
    return Predictor.open(path)


if __name__ == "__main__":
    main()
