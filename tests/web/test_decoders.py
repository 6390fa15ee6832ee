"""The decoders of the page against Python's, on the same outputs: no network takes part."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.web.remote import InBrowser

from mobilenets.runtime.classify import Classification
from mobilenets.runtime.decoders import decode
from mobilenets.runtime.detect.anchors import anchors
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.images.placement import placement
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.segment.decode import Segmentation
from mobilenets.specs.deeplab import DeepLabHead
from mobilenets.specs.model import ClassifierHead, InputContract
from mobilenets.specs.ssd import SsdHead

SIZE = 96
LABELS = ("cat", "dog", "bird")
STRETCH = InputContract(size=SIZE, resize="stretch", crop=1.0)
LETTERBOX = InputContract(size=SIZE, wide=160, resize="letterbox", crop=1.0)
HEAD = SsdHead(
    maps=("s16", "s32"),
    strides=(16, 32, 64),
    anchors=(((0.1, 1.0), (0.2, 2.0)), ((0.35, 1.0), (0.4, 0.5), (0.5, 1 / 3)), ((0.9, 1.0),)),
    extras=(64,),
    score_threshold=0.02,
)

# fmt: off
HEADS = {
    "softmax":         HEAD,
    "sigmoid":         replace(HEAD, activation="sigmoid", class_thresholds=(0.5, 0.0, 0.7)),
    "few":             replace(HEAD, candidates=7, detections=5, iou=0.3),
    "clipped":         replace(HEAD, clip=True, variances=(0.2, 0.1, 0.3, 0.2), iou=0.45),
    "all below":       replace(HEAD, score_threshold=1.0),
}
# fmt: on


def numbers(*shape: int, spread: float = 2.0, seed: int = 0) -> NDArray[np.float32]:
    """Outputs of no network."""
    return np.random.default_rng(seed).normal(0, spread, shape).astype(np.float32)


@pytest.mark.parametrize(("kind", "contract"), list(product(HEADS, (STRETCH, LETTERBOX))), ids=str)
def test_boxes_are_those_of_python(kind: str, contract: InputContract, workbench: InBrowser, color_model: Path) -> None:
    head = HEADS[kind]
    manifest = Manifest("detector", LABELS, contract, head)
    workbench.open(color_model, manifest)
    count = len(anchors(head, contract.shape))
    place = placement(231, 118, contract)
    outputs = {"logits": numbers(1, count, head.columns(len(LABELS))), "offsets": numbers(1, count, 4, seed=1)}
    (expected,) = decode(outputs, manifest, [place])
    assert isinstance(expected, Detections)
    found = workbench.decode(outputs, place)
    assert (found["width"], found["height"]) == (231, 118)
    assert found["classes"].tolist() == expected.classes.tolist()
    np.testing.assert_allclose(found["scores"], expected.scores, atol=1e-6)
    np.testing.assert_allclose(found["boxes"].reshape(-1, 4), expected.boxes, atol=1e-3)
    assert (len(expected) == 0) == (kind == "all below")


@pytest.mark.parametrize(
    ("align_corners", "contract", "image"),
    list(product((False, True), (STRETCH, LETTERBOX), ((231, 118), (40, 71)))),
    ids=str,
)
def test_every_pixel_has_the_class_that_python_gives_it(
    align_corners: bool, contract: InputContract, image: tuple[int, int], workbench: InBrowser, color_model: Path
) -> None:
    manifest = Manifest("segmenter", LABELS, contract, DeepLabHead(align_corners=align_corners))
    workbench.open(color_model, manifest)
    height, width = contract.shape
    place = placement(*image, contract)
    outputs = {"logits": numbers(1, len(LABELS), height // 8, width // 8)}
    (expected,) = decode(outputs, manifest, [place])
    assert isinstance(expected, Segmentation)
    found = workbench.decode(outputs, place)
    assert (found["width"], found["height"]) == image
    assert (found["classes"].reshape(expected.classes.shape) == expected.classes).all()
    assert found["areas"] == expected.areas.tolist()


def test_a_map_of_one_place_gives_one_class(workbench: InBrowser, color_model: Path) -> None:
    manifest = Manifest("segmenter", LABELS, STRETCH, DeepLabHead())
    workbench.open(color_model, manifest)
    logits = np.array([[[[0]], [[2]], [[1]]]], np.float32)
    found = workbench.decode({"logits": logits}, placement(31, 17, STRETCH))
    assert found["areas"] == [0, 31 * 17, 0]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_scores_are_those_of_python(temperature: float, workbench: InBrowser, color_model: Path) -> None:
    manifest = Manifest("classifier", LABELS, STRETCH, ClassifierHead(temperature=temperature))
    workbench.open(color_model, manifest)
    outputs = {"logits": numbers(1, len(LABELS), spread=40)}
    (expected,) = decode(outputs, manifest, [placement(10, 10, STRETCH)])
    assert isinstance(expected, Classification)
    found = workbench.decode(outputs, placement(10, 10, STRETCH))
    np.testing.assert_allclose(found["scores"], expected.scores, atol=1e-6)


def test_outputs_that_do_not_fit_are_named(workbench: InBrowser, color_model: Path) -> None:
    workbench.open(color_model, Manifest("detector", LABELS, STRETCH, HEAD))
    with pytest.raises(Exception, match="do not fit its 103 anchors and 4 columns"):
        workbench.decode({"logits": numbers(1, 5, 4), "offsets": numbers(1, 5, 4)}, placement(10, 10, STRETCH))
