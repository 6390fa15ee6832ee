"""The counterpart of `bccd.py`: torchvision's SSD classes and reference recipe, on the same images, minutes and weights.

- The network is what `torchvision.models.detection.ssdlite320_mobilenet_v3_large` makes, with torchvision's MobileNetV2 in
  place of the V3: the same feature extractor, extra layers, heads, anchors and thresholds.
- The backbone's weights are those of the file given, copied into torchvision's modules, with batch norm put back by
  observing training images, as `mobilenets train` does. Before training it checks that both backbones give the same map.
- The recipe is that of torchvision's references/detection for ssdlite320: SGD at 0.15 for 192 images a step and in
  proportion for fewer, momentum 0.9, weight decay 4e-5, a warm-up of one epoch, cosine; IoU crop and flip. Training takes
  `--minutes`, and cosine falls with the share of them that is over.
- Boxes are learned after the same repairs, and detections measured by the same code on the same test images.

    python benchmarks/bccd_torchvision.py BCCD --weights mobilenet_v2_1.0_224_quant.tflite --minutes 55
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.models.detection import _utils as detection
from torchvision.models.detection import ssdlite
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.transforms import v2

from mobilenets.data.checks.boxes import repaired
from mobilenets.data.open import open_dataset
from mobilenets.data.samples import Sample
from mobilenets.evaluation.detect.coco import Coco, coco_metrics
from mobilenets.evaluation.detect.truth import truth_of
from mobilenets.model import Model, rebuilt
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.images.decode import decode_image
from mobilenets.runtime.images.prepare import load_input
from mobilenets.specs.model import HALF, InputContract
from mobilenets.weights import norms
from mobilenets.weights.assemble import Tensors
from mobilenets.weights.load import load
from mobilenets.weights.torchvision import classify as importer

SIZE = (320, 320)
CONTRACT = InputContract(size=320, mean=HALF, std=HALF, resize="sample", crop=1.0)
EPS, MOMENTUM = 0.001, 0.03  # of ssdlite320's norms
STRIDE_32 = 14  # of V2's features, the first whose map is 1/32
RATE, PER_STEP = 0.15, 192  # references/detection: 8 GPUs with 24 images each
OBSERVED = 128
TOLERANCE = 1e-4

TRAINED = v2.Compose(  # references/detection/presets.py, "ssdlite"
    [
        v2.RandomIoUCrop(),
        v2.RandomHorizontalFlip(0.5),
        v2.PILToTensor(),
        v2.ToDtype(torch.float, scale=True),
        v2.ConvertBoundingBoxFormat(tv_tensors.BoundingBoxFormat.XYXY),
        v2.SanitizeBoundingBoxes(),
        v2.ToPureTensor(),
    ]
)
TESTED = v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float, scale=True)])

Item = tuple[Tensor, dict[str, Tensor]]


class Boxed(Dataset[Item]):
    """Augmented images with their boxes; label 0 is the background."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> Item:
        image = decode_image(self.samples[i].read())
        boxes = torch.tensor([box.corners for box in self.samples[i].boxes], dtype=torch.float32)
        size = (image.height, image.width)
        target = {
            "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),
            "labels": torch.tensor([box.label + 1 for box in self.samples[i].boxes]),
        }
        seen: Item = TRAINED(image, target)
        return seen


def main() -> None:
    """Train for so many minutes, measure on the test split, print the same figures as `bccd.py`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the dataset's folder")
    parser.add_argument("--weights", required=True, help="of a MobileNetV2")
    parser.add_argument("--minutes", type=float, default=60, help="of training")
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--amp", action="store_true", help="bfloat16 where torch's autocast has it")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    began = time.monotonic()
    dataset = repaired(open_dataset(options.data).with_val_in_train())
    samples = [sample for sample in dataset.split("train") if sample.boxes]  # as the reference script does
    model = detector(with_norms(load(options.weights), samples), classes=len(dataset.labels))
    loader = DataLoader(
        Boxed(samples),
        batch_size=options.batch,
        shuffle=True,
        drop_last=True,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
        collate_fn=list,
    )
    epochs = train(model, loader, minutes=options.minutes, rate=RATE * options.batch / PER_STEP, amp=options.amp)
    coco = evaluate(model, dataset.split("test"), dataset.labels)
    figures = {"mAP50": round(coco.map50, 4), "mAP": round(coco.map, 4)}
    minutes = round((time.monotonic() - began) / 60, 1)
    print(json.dumps({"what": "torchvision", **figures, "minutes": minutes, "seed": options.seed, "epochs": round(epochs, 1)}))


def with_norms(model: Model, samples: Sequence[Sample]) -> Model:
    """The model with torchvision's padding and, where norms were folded away, norms that were put back at 320 px."""
    padded = replace(model.spec.backbone, padding="symmetric")
    found = rebuilt(model, replace(model.spec, backbone=padded, input=CONTRACT))
    if norms.folded(found):
        chosen = np.random.default_rng(0).permutation(len(samples))[:OBSERVED]
        images = np.stack([load_input(samples[i].read(), CONTRACT) for i in chosen])
        norms.reinsert(found, torch.split(torch.from_numpy(images), 32))
    return found


def detector(model: Model, *, classes: int) -> Any:  # Any: torchvision has no types
    """torchvision's SSDLite on torchvision's MobileNetV2 with the model's backbone weights.

    Args:
        model: a MobileNetV2.
        classes: without the background.
    """
    norm = partial(nn.BatchNorm2d, eps=EPS, momentum=MOMENTUM)
    body = torchvision.models.mobilenet_v2(
        norm_layer=partial(nn.BatchNorm2d, eps=model.spec.backbone.norm_eps, momentum=MOMENTUM)
    )
    copy_weights(model, body)
    body.features[STRIDE_32].block = body.features[STRIDE_32].conv  # where the extractor looks for V3's layers
    extractor = ssdlite._mobilenet_extractor(body, 6, norm)
    channels = detection.retrieve_out_channels(extractor, SIZE)
    anchors = DefaultBoxGenerator([[2, 3] for _ in channels], min_ratio=0.2, max_ratio=0.95)
    head = ssdlite.SSDLiteHead(channels, anchors.num_anchors_per_location(), classes + 1, norm)
    own = {"score_thresh": 0.001, "nms_thresh": 0.55, "detections_per_img": 300, "topk_candidates": 300}  # ssdlite320's
    return SSD(extractor, anchors, SIZE, classes + 1, HALF, HALF, head=head, **own)


@torch.no_grad()
def copy_weights(model: Model, body: Any) -> None:  # Any: torchvision has no types
    """Put the model's backbone into torchvision's, by the names that our importer gives its tensors."""
    theirs = {name: tensor for name, tensor in body.state_dict().items() if name.startswith("features.")}
    ours = model.backbone.state_dict()
    for i, block in enumerate(importer.blocks_of(Tensors(theirs, "torchvision's mobilenet_v2"), model.spec.backbone)):
        for name, tensor in block.tensors.items():
            tensor.copy_(ours[f"blocks.{i}.{name}"])
    x = torch.rand(2, 3, *SIZE) * 2 - 1
    expected = model.eval().backbone(x)
    difference = float((body.eval().features(x) - expected).abs().max() / expected.abs().max())
    if not difference < TOLERANCE:
        sys.exit(f"the backbones' maps differ by {difference:.1e} of the largest value")


def train(model: Any, loader: DataLoader[Item], *, minutes: float, rate: float, amp: bool) -> float:  # Any: as above
    """Train by the reference recipe, and return the epochs that there was time for."""
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=4e-5)
    warmup = min(1000, len(loader) - 1)
    steps, shown, began = 0, 0.0, time.monotonic()
    model.train()
    while True:
        for batch in loader:
            over = (time.monotonic() - began) / (60 * minutes)
            if over >= 1:
                return steps / len(loader)
            share = 1e-3 + (1 - 1e-3) * min(1.0, steps / max(1, warmup))
            for group in optimizer.param_groups:
                group["lr"] = rate * share * (1 + math.cos(math.pi * over)) / 2
            images, targets = zip(*batch, strict=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=amp):
                losses = model(list(images), list(targets))
            loss = sum(one.float() for one in losses.values())
            if not torch.isfinite(loss):
                sys.exit(f"the loss is {loss.item()} after {steps} steps")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
            if time.monotonic() - shown > 30:
                shown = time.monotonic()
                print(f"{over:.0%}, epoch {steps / len(loader):.1f}, loss {loss.item():.3f}", file=sys.stderr)


def evaluate(model: Any, samples: Sequence[Sample], labels: tuple[str, ...]) -> Coco:  # Any: as above
    """COCO's metrics, computed as in `mobilenets train`."""
    judged = []
    model.eval()
    with torch.inference_mode():
        for sample in samples:
            [found] = model([TESTED(decode_image(sample.read()))])
            boxes, scores, classes = (found[name].numpy() for name in ("boxes", "scores", "labels"))
            detections = Detections(labels, boxes, scores, classes - 1)
            judged.append((detections, truth_of(sample.boxes, range(len(labels)))))
    return coco_metrics(judged, len(labels))


if __name__ == "__main__":
    main()
