from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead, _mobilenet_extractor
from torchvision.models.mobilenetv3 import mobilenet_v3_large, mobilenet_v3_small

from mobilenets import checkpoint
from mobilenets.errors import WeightsError
from mobilenets.model import Model, TorchEngine
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.manifest import manifest_of
from mobilenets.runtime.predictor import Predictor
from mobilenets.specs.families import backbone
from mobilenets.specs.ssd import SsdHead, ssdlite
from mobilenets.weights.assemble import assemble
from mobilenets.weights.load import load
from mobilenets.weights.torchvision import ssd as importer

Draw = Callable[[nn.Module], nn.Module]
NORM = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.03)


def on(network: nn.Module, channels: list[int], classes: int, **settings: float) -> SSD:
    """torchvision's SSDLite on another of its backbones, as its builder makes it."""
    return SSD(
        _mobilenet_extractor(network, 6, NORM),
        DefaultBoxGenerator([[2, 3]] * 6, min_ratio=0.2, max_ratio=0.95),
        (320, 320),
        classes,
        head=SSDLiteHead(channels, [6] * 6, classes, NORM),
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        **settings,
    )


NETWORKS: dict[str, Callable[[], SSD]] = {
    "published": lambda: ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None),
    "5 classes": lambda: ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=6),
    "whole last block": lambda: on(mobilenet_v3_large(norm_layer=NORM), [672, 960, 512, 256, 256, 128], 4),
    "small": lambda: on(mobilenet_v3_small(norm_layer=NORM), [288, 576, 512, 256, 256, 128], 4),
}
CLASSES = {"published": 90, "5 classes": 5, "whole last block": 3, "small": 3}


def read(theirs: nn.Module, classes: int) -> Model:
    labels = [f"class {i}" for i in range(classes)]
    return assemble(importer.read(theirs.state_dict(), "file.pth"), labels=labels, weights="file.pth")


@torch.inference_mode()
@pytest.mark.parametrize("name", NETWORKS)
def test_raw_outputs_equal_those_of_torchvision(name: str, random_weights: Draw) -> None:
    theirs = random_weights(NETWORKS[name]())
    ours = read(theirs, CLASSES[name])
    for shape in ((320, 320), (97, 65)):
        x = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
        maps: dict[str, Tensor] = theirs.get_submodule("backbone")(x)
        expected: dict[str, Tensor] = theirs.get_submodule("head")(list(maps.values()))
        logits, offsets = ours(x)
        for mine, wanted in ((logits, expected["cls_logits"]), (offsets, expected["bbox_regression"])):
            assert wanted.std(0).max() > 1e-3, "the outputs do not depend on the image"
            assert float((mine - wanted).abs().max() / wanted.abs().max()) < 1e-4


def image(width: int, height: int, seed: int) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encoded(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("size", [(320, 320), (500, 375), (231, 640), (1600, 1200), (33, 57)])
def test_boxes_labels_and_scores_equal_those_of_torchvision(size: tuple[int, int], random_weights: Draw) -> None:
    """The order of boxes whose scores agree to the fifth digit, and which of them is the 300th, is left open."""
    theirs = random_weights(NETWORKS["published"]())
    ours = read(theirs, 90)
    predictor = Predictor(manifest_of(ours.spec), TorchEngine(ours))
    pixels = image(*size, seed=size[0])
    with torch.inference_mode():
        [expected] = theirs([torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255])
    found = predictor.predict(encoded(pixels))
    assert isinstance(found, Detections)
    assert len(found) == len(expected["boxes"]) == 300
    np.testing.assert_allclose(found.scores, expected["scores"], atol=2e-3)
    assert unmatched(found, expected) <= 3


def unmatched(found: Detections, expected: dict[str, Tensor]) -> int:
    """How many of the expected boxes have no counterpart of the same label, score and place."""
    labels, scores, boxes = (expected[name].numpy() for name in ("labels", "scores", "boxes"))
    same = found.classes[:, None] + 1 == labels
    same &= np.abs(found.scores[:, None] - scores) < 2e-3
    same &= np.abs(found.boxes[:, None] - boxes).max(2) < 1e-3 * np.abs(boxes).max()
    return int((~same.any(0)).sum())


def test_the_file_loads_with_cocos_labels_and_torchvisions_settings(tmp_path: Path) -> None:
    torch.save(NETWORKS["published"]().state_dict(), tmp_path / "detector.pth")
    model = load(tmp_path / "detector.pth")
    assert (len(model.spec.labels), model.spec.labels[0], model.spec.labels[-1]) == (90, "person", "toothbrush")
    assert model.spec.labels[17] == "dog"  # COCO's number 18, less 1: the background is no label, unused numbers are
    assert "background" not in " ".join(model.spec.labels)
    expected = ssdlite(backbone("mobilenet_v3_large"), ["a"], reduced=True).backbone
    assert (model.spec.backbone.rows, model.spec.backbone.width) == (expected.rows, 1.0)
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_440_060
    head = model.spec.head
    assert isinstance(head, SsdHead)
    assert (head.score_threshold, head.iou, head.detections, head.candidates) == (0.001, 0.55, 300, 300)


def test_other_labels_can_be_given(tmp_path: Path) -> None:
    torch.save(NETWORKS["5 classes"]().state_dict(), tmp_path / "detector.pth")
    assert load(tmp_path / "detector.pth").spec.labels == tuple(f"class_{i:04}" for i in range(5))
    assert load(tmp_path / "detector.pth", labels=["background", *"abcde"]).spec.labels == tuple("abcde")


@torch.inference_mode()
def test_a_checkpoint_of_it_gives_the_same(tmp_path: Path, random_weights: Draw) -> None:
    ours = read(random_weights(NETWORKS["5 classes"]()), 5)
    checkpoint.save(ours, tmp_path / "best")
    again = checkpoint.load(tmp_path / "best")
    assert again.spec == ours.spec
    x = torch.rand(1, 3, 320, 320)
    assert all(torch.equal(a, b) for a, b in zip(ours(x), again.eval()(x), strict=True))


def test_damage_is_named() -> None:
    state = NETWORKS["5 classes"]().state_dict()
    with pytest.raises(WeightsError, match=r"no tensor 'backbone\.extra\.2\.1\.0\.weight'"):
        importer.read({name: x for name, x in state.items() if name != "backbone.extra.2.1.0.weight"}, "file.pth")
    with pytest.raises(WeightsError, match="no place for: 'anchors'"):
        importer.read({**state, "anchors": torch.zeros(1)}, "file.pth")
    fewer = {name: x for name, x in state.items() if not name.startswith("head.regression_head.module_list.5")}
    with pytest.raises(WeightsError, match=r"\[6, 6, 6, 6, 6\] anchors per position of its maps; torchvision has 6 on each"):
        importer.read(fewer, "file.pth")
