from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenets.errors import CheckpointError
from mobilenets.runtime.detect.anchors import anchors
from mobilenets.runtime.detect.decode import Detections, activate, boxes_of, decode_detections, none, placed, thresholds_of
from mobilenets.runtime.images.placement import Placement, placement
from mobilenets.runtime.manifest import Manifest
from mobilenets.specs.model import InputContract
from mobilenets.specs.ssd import SsdHead, ssd_anchors

VARIANCES = (0.1, 0.1, 0.2, 0.2)
HEAD = SsdHead(
    maps=("s16", "s32"),
    strides=(16, 32),
    anchors=ssd_anchors(2, smallest=0),
    extras=(),
    score_threshold=0.01,
    iou=0.45,
    candidates=50,
    detections=40,
)
CONTRACT = InputContract(size=96, resize="stretch", crop=1.0)


def manifest_of(classes: int = 3, head: SsdHead = HEAD, contract: InputContract = CONTRACT) -> Manifest:
    return Manifest("m", tuple(f"kind {i}" for i in range(classes)), contract, head)


def outputs_of(seed: int, n: int, manifest: Manifest, *, spread: float = 2.0) -> dict[str, NDArray[np.float32]]:
    generator = np.random.default_rng(seed)
    assert isinstance(manifest.head, SsdHead)
    count = len(anchors(manifest.head, manifest.input.shape))
    columns = manifest.head.columns(len(manifest.labels))
    return {
        "logits": generator.normal(0, spread, (n, count, columns)).astype(np.float32),
        "offsets": generator.normal(0, 1.5, (n, count, 4)).astype(np.float32),
    }


def whole(manifest: Manifest, n: int = 1) -> list[Placement]:
    """Images as large as the input."""
    height, width = manifest.input.shape
    return [placement(width, height, manifest.input)] * n


def torchvision_detections(outputs: dict[str, NDArray[np.float32]], manifest: Manifest) -> list[dict[str, NDArray[np.float32]]]:
    """What torchvision's SSD makes of the same outputs."""
    torch = pytest.importorskip("torch")
    from torchvision.models.detection._utils import BoxCoder
    from torchvision.models.detection.ssd import SSD

    head = manifest.head
    assert isinstance(head, SsdHead)
    ssd = SSD.__new__(SSD)
    torch.nn.Module.__init__(ssd)
    ssd.box_coder = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))
    ssd.score_thresh, ssd.nms_thresh = head.score_threshold, head.iou
    ssd.topk_candidates, ssd.detections_per_img = head.candidates, head.detections
    n = len(outputs["logits"])
    found = ssd.postprocess_detections(
        {"bbox_regression": torch.tensor(outputs["offsets"]), "cls_logits": torch.tensor(outputs["logits"])},
        [torch.tensor(anchors(head, manifest.input.shape).copy())] * n,
        [manifest.input.shape] * n,
    )
    return [{name: value.numpy() for name, value in one.items()} for one in found]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [1, 3, 12])
@pytest.mark.parametrize(
    "spread", [0.1, 1.0, 2.0]
)  # more, and rounding makes many scores equal to the last digit in one of both
def test_it_is_torchvisions_ssd(seed: int, classes: int, spread: float) -> None:
    manifest = manifest_of(classes)
    outputs = outputs_of(seed, 2, manifest, spread=spread)
    for ours, theirs in zip(
        decode_detections(outputs, manifest, whole(manifest, 2)), torchvision_detections(outputs, manifest), strict=True
    ):
        assert (ours.classes + 1).tolist() == theirs["labels"].tolist()
        np.testing.assert_allclose(ours.scores, theirs["scores"], rtol=1e-5)
        np.testing.assert_allclose(ours.boxes, theirs["boxes"], atol=1e-3)


def test_boxes_by_hand() -> None:
    own = np.array([[10, 20, 30, 60]], np.float32)  # center 20 40, sides 20 40
    offsets = np.array([[1.0, -0.5, 5 * np.log(2), 5 * np.log(0.5)]], np.float32)
    # center 20 + 0.1 * 20, 40 - 0.05 * 40; sides 20 * 2, 40 / 2
    np.testing.assert_allclose(boxes_of(offsets, own, VARIANCES), [[2, 28, 42, 48]], rtol=1e-5)


def test_a_box_grows_to_a_thousand_sixteenths_of_its_anchor_at_most() -> None:
    own = np.array([[0, 0, 16, 16]], np.float32)
    grown = boxes_of(np.array([[0, 0, 1e9, 60]], np.float32), own, VARIANCES)
    np.testing.assert_allclose(grown[0, 2:] - grown[0, :2], [1000, 1000], rtol=1e-4)


def test_scores_by_hand() -> None:
    logits = np.log(np.array([[2.0, 1.0, 1.0]], np.float32))  # background, two labels
    np.testing.assert_allclose(activate(logits, HEAD), [[0.25, 0.25]], rtol=1e-6)
    sigmoid = replace(HEAD, activation="sigmoid")
    logits = np.array([[0.0, np.log(3.0), -1000.0]], np.float32)
    np.testing.assert_allclose(activate(logits, sigmoid), [[0.5, 0.75, 0]], rtol=1e-6)


def test_boxes_are_in_px_of_the_image_and_inside_it() -> None:
    manifest = manifest_of(2)
    outputs = outputs_of(0, 1, manifest)
    (small,) = decode_detections(outputs, manifest, whole(manifest))
    (large,) = decode_detections(outputs, manifest, [placement(960, 480, manifest.input)])
    np.testing.assert_allclose(large.boxes, small.boxes * [10, 5, 10, 5], atol=1e-2)
    assert large.boxes.min() >= 0
    assert (large.boxes <= [960, 480, 960, 480]).all()


def test_the_padding_of_a_letterbox_is_taken_away() -> None:
    contract = replace(CONTRACT, resize="letterbox")
    place = placement(200, 100, contract)  # 96 x 48 in the middle of 96 x 96
    boxes = np.array([[0, 0, 96, 96], [48, 24, 96, 48]], np.float32)
    np.testing.assert_allclose(placed(boxes, place), [[0, 0, 200, 100], [100, 0, 200, 50]], atol=1e-3)


def test_a_class_has_its_own_threshold_where_that_is_higher() -> None:
    manifest = manifest_of(3, replace(HEAD, class_thresholds=(0.0, 0.5, 0.999)))
    assert isinstance(manifest.head, SsdHead)
    np.testing.assert_allclose(thresholds_of(manifest.head, 3), [0.01, 0.5, 0.999])
    (found,) = decode_detections(outputs_of(1, 1, manifest), manifest, whole(manifest))
    assert set(found.classes.tolist()) == {0, 1}
    assert found.scores[found.classes == 1].min() > 0.5
    (free,) = decode_detections(
        outputs_of(1, 1, manifest), manifest_of(3, replace(HEAD, detections=1000, candidates=270)), whole(manifest)
    )
    assert free.scores[free.classes == 1].min() < 0.5


def test_of_equal_scores_the_lower_class_and_the_earlier_anchor_come_first() -> None:
    manifest = manifest_of(2, replace(HEAD, detections=6))
    outputs = outputs_of(0, 1, manifest)
    outputs["logits"][:] = 0
    outputs["offsets"][:] = 0
    (found,) = decode_detections(outputs, manifest, whole(manifest))
    assert found.classes.tolist() == [0] * 6
    np.testing.assert_allclose(found.boxes[0], np.clip(anchors(HEAD, (96, 96))[0], 0, 96), atol=1e-4)
    (again,) = decode_detections(outputs, manifest, whole(manifest))
    assert again.boxes.tolist() == found.boxes.tolist()


def test_nothing_above_the_threshold_is_nothing() -> None:
    manifest = manifest_of(2)
    outputs = outputs_of(0, 1, manifest)
    outputs["logits"][..., 0] = 50
    (found,) = decode_detections(outputs, manifest, whole(manifest))
    assert (len(found), found.boxes.shape, repr(found)) == (0, (0, 4), "Detections(none)")


def test_what_a_network_found_itself_is_placed_and_its_padding_dropped() -> None:
    outputs = {
        "boxes": np.array([[[0, 0, 48, 96], [0, 0, 0, 0]]], np.float32),
        "scores": np.array([[0.9, 0]], np.float32),
        "classes": np.array([[1, -1]]),
    }
    manifest = manifest_of(2)
    (found,) = decode_detections(outputs, manifest, [placement(960, 480, manifest.input)])
    assert found.names == ("kind 1",)
    assert found.scores.tolist() == pytest.approx([0.9])
    assert found.boxes.tolist() == [[0, 0, 480, 480]]


def test_outputs_that_do_not_fit_are_refused() -> None:
    manifest = manifest_of(2)
    with pytest.raises(CheckpointError, match="no output 'logits' but 'scores'"):
        decode_detections({"scores": np.zeros(1, np.float32)}, manifest, [])
    outputs = outputs_of(0, 1, manifest_of(5))
    with pytest.raises(CheckpointError, match="its manifest has 270 anchors and 3 columns of scores"):
        decode_detections(outputs, manifest, whole(manifest))
    with pytest.raises(CheckpointError, match="has a ClassifierHead, which detects nothing"):
        decode_detections(outputs, Manifest("m", ("a",), CONTRACT), whole(manifest))


def test_detections_are_rows_that_can_be_chosen() -> None:
    made = Detections(
        ("cat", "dog"),
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.array([0.9, 0.6, 0.5], np.float32),
        np.array([1, 0, 1]),
    )
    assert made.names == ("dog", "cat", "dog")
    assert made.above(0.55).scores.tolist() == pytest.approx([0.9, 0.6])
    assert made.above((0.7, 0.2)).names == ("dog", "dog")
    assert repr(made) == "Detections(3: dog 90.0%, cat 60.0%, dog 50.0%)"
    assert len(none(("cat",))) == 0


def test_3_000_anchors_of_90_classes_are_decoded_fast() -> None:
    head = replace(HEAD, strides=(10, 20), iou=0.6, candidates=300, detections=100)
    manifest = manifest_of(90, head, replace(CONTRACT, size=200))
    outputs = outputs_of(0, 1, manifest, spread=1.0)
    assert outputs["logits"].shape[1] == 3000
    outputs["logits"][..., 0] += 9  # background nearly everywhere, as a trained network has it
    outputs["logits"][0, ::10, 0] -= 9
    places = whole(manifest)
    assert len(decode_detections(outputs, manifest, places)[0]) == 100
    times = []
    for _ in range(20):
        start = time.perf_counter()
        decode_detections(outputs, manifest, places)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.012  # 3 ms at most where nothing else runs
