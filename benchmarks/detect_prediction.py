"""Images per second from files to boxes, beside torchvision's ssdlite320_mobilenet_v3_large; same run, alternating.

Both run one network with one set of weights on the same files, COCO's 90 classes, decoding and NMS included:

- torchvision: its model in evaluation mode under `inference_mode`, images as its reference script gives them, alone or in
  batches of 8 from a DataLoader with 0, 1 or 2 workers; the fastest of these counts.
- mobilenets: the weights imported, exported to ONNX, and `Predictor.stream` as `mobilenets predict FOLDER` runs it.

Without `--weights` the weights are random, with batch-norm statistics of some of the images. A random network would find
every class everywhere, which would keep both busy with NMS, so the background's bias is set to leave about `--likely` scores
of an image above the threshold of 0.001, as a trained one does. Afterwards it compares the boxes and exits with 1 if fewer
than 99% of torchvision's are among ours.

    python benchmarks/detect_prediction.py BCCD/JPEGImages
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peers import Photos, average_norms, images_in
from PIL import Image
from rates import OURS, measure
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.transforms.functional import pil_to_tensor

from mobilenets.exporters.onnx import export_onnx
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.detect.nms import ious
from mobilenets.runtime.predictor import Predictor
from mobilenets.weights.assemble import assemble
from mobilenets.weights.torchvision import ssd as importer

PEERS = ((1, 0), (8, 0), (8, 1), (8, 2))  # images at once, workers
OBSERVED = 64
SPREAD = 3.0  # of the random scores: logits of about 1.5, not 0.5
OVERLAP, SCORE = 0.99, 1e-3  # from which and up to which difference two boxes are the same
LEAST_SAME = 0.99

Found = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]  # boxes, scores, classes from 0


def transform(image: Image.Image) -> Tensor:
    """The input of torchvision's detectors: C H W, 0 to 1, of any size."""
    tensor: Tensor = pil_to_tensor(image).float() / 255
    return tensor


def main() -> None:
    """Print images per second of each, the ratio, and how far the boxes agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of images")
    parser.add_argument("--most", type=int, default=500, help="images taken, in the order of their names")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--likely", type=int, default=1000, help="random scores of an image that NMS looks at")
    parser.add_argument("--weights", type=Path, help="a state dict of torchvision's ssdlite320_mobilenet_v3_large")
    options = parser.parse_args()
    paths = images_in(options.photos, options.most)
    peer = torchvision_model(paths, options.weights, likely=options.likely)
    ways: dict[str, Callable[[Sequence[Path]], list[Found]]] = {
        f"torchvision, {batch} at once, {workers} workers": partial(with_torchvision, peer, batch=batch, workers=workers)
        for batch, workers in PEERS
    }
    with tempfile.TemporaryDirectory() as folder:
        predictor = exported(peer, Path(folder) / "model.onnx")
        ways[OURS] = partial(with_mobilenets, predictor)
        answers, summary = measure(ways, paths, rounds=options.rounds)
    theirs = answers[str(summary["beside"])]
    same = [found_again(one, other) for one, other in zip(answers[OURS], theirs, strict=True)]
    total = sum(len(one) for one in same)
    share = sum(int(one.sum()) for one in same) / max(total, 1)
    print(json.dumps({**summary, "same_boxes": round(share, 4), "boxes": total, "threads": predictor.threads}))
    if share < LEAST_SAME:
        sys.exit(f"only {share:.1%} of the boxes are the same")


def with_torchvision(model: Any, paths: Sequence[Path], *, batch: int, workers: int) -> list[Found]:  # Any: without types
    """What torchvision finds on every image."""
    loader: Iterable[list[Tensor]] = DataLoader(
        Photos(paths, transform), batch_size=batch, num_workers=workers, collate_fn=list
    )
    found: list[Found] = []
    with torch.inference_mode():
        for images in loader:
            answers = model(images)
            found += [(one["boxes"].numpy(), one["scores"].numpy(), one["labels"].numpy() - 1) for one in answers]
    return found


def with_mobilenets(predictor: Predictor, paths: Sequence[Path]) -> list[Found]:
    """What we find on every image."""
    found: list[Found] = []
    for result in predictor.stream(paths):
        assert isinstance(result.prediction, Detections), result.error
        found.append((result.prediction.boxes, result.prediction.scores, result.prediction.classes))
    return found


def found_again(ours: Found, theirs: Found) -> NDArray[np.bool_]:
    """Which of their boxes are among ours, with the same class and score."""
    overlap = ious(theirs[0], ours[0]) >= OVERLAP
    score = np.abs(theirs[1][:, None] - ours[1]) <= SCORE
    again: NDArray[np.bool_] = (overlap & score & (theirs[2][:, None] == ours[2])).any(axis=1)
    return again


def torchvision_model(paths: Sequence[Path], weights: Path | None, *, likely: int) -> Any:  # Any: without types
    """torchvision's SSDLite in evaluation mode, random but plausible if there are no weights."""
    torch.manual_seed(0)
    model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    if weights is not None:
        model.load_state_dict(torch.load(weights, weights_only=True))
        return model.eval()
    chosen = Photos(paths, transform).every(OBSERVED)
    images = [chosen[i] for i in range(len(chosen))]
    scorers = [block[1] for block in model.head.classification_head.module_list]
    average_norms(model)
    with torch.inference_mode():
        for i in range(0, len(images), 8):
            outputs(model.train(), images[i : i + 8])
        for scorer in scorers:
            scorer.weight *= SPREAD
        logits = torch.cat([outputs(model.eval(), [image]) for image in images]).double()
    bias = background(logits, model.score_thresh, likely)
    with torch.no_grad():
        for scorer in scorers:
            scorer.bias.view(-1, logits.shape[-1])[:, 0] = bias
    return model


def outputs(model: Any, images: list[Tensor]) -> Tensor:  # Any: without types
    """Logits of some images, N anchors classes, in whichever mode the model is."""
    batch, _ = model.transform(images)
    logits: Tensor = model.head(list(model.backbone(batch.tensors).values()))["cls_logits"]
    return logits


def background(logits: Tensor, threshold: float, likely: int) -> float:
    """What is to be added to the logits of class 0 so that `likely` scores of an image are above the threshold."""
    others = logits[..., 1:].exp()
    room = others / threshold - others.sum(-1, keepdim=True)  # a score is above it if exp(background) is below this
    limits = room.clamp(min=1e-30).log() - logits[..., :1]
    return float(limits.flatten().topk(likely * len(logits)).values[-1])


def exported(peer: nn.Module, path: Path) -> Predictor:
    """The same network through our importer and exporter."""
    network = importer.read(peer.state_dict(), "torchvision's ssdlite320_mobilenet_v3_large")
    labels = [f"class {i}" for i in range(network.classes)]
    export_onnx(assemble(network, labels=labels, weights="benchmark"), path)
    return Predictor.open(path)


if __name__ == "__main__":
    main()
