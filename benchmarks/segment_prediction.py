"""Images per second from files to masks, beside the same DeepLabv3 built from torchvision's parts; same run, alternating.

Both run one network, DeepLabv3 with its atrous branches on MobileNetV2 at output stride 16, with one set of random weights and
batch-norm statistics of some of the images, at the images' own size:

- torchvision: its MobileNetV2, dilated as it dilates its V3, its `DeepLabHead` and its segmentation model, in evaluation mode
  under `inference_mode`; images alone or four at once, from a DataLoader with 0, 1 or 2 workers; the fastest counts.
- mobilenets: the same weights exported to ONNX, and `Predictor.stream` as `mobilenets predict FOLDER` runs it.

Afterwards it compares the masks and exits with 1 if fewer than 99% of the pixels agree.

    python benchmarks/segment_prediction.py CAMVID/test/images
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from peers import Photos, images_in, observe
from PIL import Image
from rates import OURS, measure
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation import DeepLabV3
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.transforms.functional import pil_to_tensor

from mobilenets.exporters.onnx import export_onnx
from mobilenets.runtime.predictor import Predictor
from mobilenets.runtime.segment.decode import Segmentation
from mobilenets.specs.families import backbone
from mobilenets.specs.segment import segmentation_backbone, segmentation_input
from mobilenets.weights.assemble import Network, Tensors, assemble
from mobilenets.weights.torchvision import classify as importer
from mobilenets.weights.torchvision import segment as torchvision_segment

PEERS = ((1, 0), (4, 0), (4, 1), (4, 2))  # images at once, workers
STRIDE_32 = 14  # of V2's features, the first whose map is 1/32
MAPS = {"last": 18, "second_last": 17}
OBSERVED = 32
LEAST_SAME = 0.99

Masks = list[NDArray[np.uint8]]


def transform(image: Image.Image) -> Tensor:
    """The network's input: C H W, -1 to 1."""
    tensor: Tensor = pil_to_tensor(image).float().div_(127.5).sub_(1)
    return tensor


def main() -> None:
    """Print images per second of each, the ratio, and how far the masks agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of images, all of one size")
    parser.add_argument("--most", type=int, default=500, help="images taken, in the order of their names")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--classes", type=int, default=11)
    parser.add_argument(
        "--on", choices=list(MAPS), default="second_last", help="the map that the head stands on; V2* in the paper"
    )
    options = parser.parse_args()
    paths = images_in(options.photos, options.most)
    peer = torchvision_model(paths, classes=options.classes, on=options.on)
    ways: dict[str, Callable[[Sequence[Path]], Masks]] = {
        f"torchvision, {batch} at once, {workers} workers": partial(with_torchvision, peer, batch=batch, workers=workers)
        for batch, workers in PEERS
    }
    with Image.open(paths[0]) as image:
        size = (image.height, image.width)
    with tempfile.TemporaryDirectory() as folder:
        predictor = exported(peer, Path(folder) / "model.onnx", size=size, classes=options.classes, on=options.on)
        ways[OURS] = partial(with_mobilenets, predictor)
        answers, summary = measure(ways, paths, rounds=options.rounds)
    theirs = answers[str(summary["beside"])]
    same = float(np.mean([(one == other).mean() for one, other in zip(answers[OURS], theirs, strict=True)]))
    shares = np.bincount(np.concatenate([one.ravel() for one in theirs]), minlength=options.classes)
    about = {"same_pixels": round(same, 5), "classes_seen": int((shares > 0).sum()), "threads": predictor.threads}
    print(json.dumps({**summary, **about, "size": size, "on": options.on}))
    if same < LEAST_SAME:
        sys.exit(f"only {same:.1%} of the pixels are the same")


def with_torchvision(model: Any, paths: Sequence[Path], *, batch: int, workers: int) -> Masks:  # Any: without types
    """The class of every pixel."""
    loader = DataLoader(Photos(paths, transform), batch_size=batch, num_workers=workers)
    with torch.inference_mode():
        return [mask for x in loader for mask in model(x)["out"].argmax(1).to(torch.uint8).numpy()]


def with_mobilenets(predictor: Predictor, paths: Sequence[Path]) -> Masks:
    """The class of every pixel."""
    masks: Masks = []
    for result in predictor.stream(paths):
        assert isinstance(result.prediction, Segmentation), result.error
        masks.append(result.prediction.classes)
    return masks


def torchvision_model(paths: Sequence[Path], *, classes: int, on: str) -> Any:  # Any: without types
    """DeepLabv3 on MobileNetV2 of torchvision's modules, random, in evaluation mode."""
    torch.manual_seed(0)
    features = torchvision.models.mobilenet_v2(weights=None).features
    for block in features[STRIDE_32:-1]:
        depthwise = block.conv[1][0]
        depthwise.stride, depthwise.dilation, depthwise.padding = (1, 1), (2, 2), (2, 2)
    last = MAPS[on]
    body = IntermediateLayerGetter(features, {str(last): "out"})
    channels = features[last].out_channels
    model = DeepLabV3(body, DeepLabHead(channels, classes))
    torch.nn.init.normal_(model.classifier[-1].weight, std=0.2)
    chosen = Photos(paths, transform).every(OBSERVED)
    return observe(model, list(DataLoader(chosen, batch_size=4, drop_last=len(chosen) > 4)))


def exported(peer: Any, path: Path, *, size: tuple[int, int], classes: int, on: Any) -> Predictor:  # Any: without types
    """The same network through our importer and exporter."""
    like = backbone("mobilenet_v2", padding="symmetric", norm_eps=1e-5, norm_momentum=0.1)
    like = segmentation_backbone(like, output_stride=16, on=on, reduced=False)
    state = {**peer.backbone.state_dict(prefix="features."), **peer.classifier.state_dict(prefix="classifier.")}
    tensors = Tensors(state, "torchvision's parts")
    blocks = importer.blocks_of(tensors, like)
    record, head = torchvision_segment.deeplab_head(tensors)
    tensors.done()
    network = Network(
        replace(like, dilate_strided_row=True),
        blocks,
        segmentation_input(size, 3),
        head=head,
        record=record,
        record_classes=classes,
    )
    model = assemble(network, labels=[f"class {i}" for i in range(classes)], weights="benchmark")
    export_onnx(model, path)
    return Predictor.open(path)


if __name__ == "__main__":
    main()
