from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder, SSDMatcher
from torchvision.models.detection.ssd import SSD
from torchvision.ops import box_iou

from mobilenets.errors import SpecError
from mobilenets.model import Model, create, rebuilt
from mobilenets.runtime.detect.anchors import anchors, map_sizes
from mobilenets.runtime.detect.decode import boxes_of
from mobilenets.specs.families import PAPERS, backbone
from mobilenets.specs.model import ModelSpec
from mobilenets.specs.rows import Padding
from mobilenets.specs.ssd import SsdHead, ssd, ssd_anchors, ssdlite
from mobilenets.tasks.detect import (
    BACKGROUND,
    IGNORED,
    PRIOR,
    Predictor,
    Ssd,
    Targets,
    encode,
    focal_loss,
    hard_negatives,
    loss,
    match,
)

LABELS = ("cat", "dog", "cow")
SMALL = backbone("mobilenet_v2", width=0.35)
VARIANCES = (0.1, 0.1, 0.2, 0.2)
WEIGHTS = (10.0, 10.0, 5.0, 5.0)  # torchvision's name for 1 / variances
GRID = torch.tensor([[0.0, 0, 10, 10], [10, 0, 20, 10], [0, 10, 10, 20], [10, 10, 20, 20], [0, 0, 20, 20]])


def anchors_of(size: int = 320) -> Tensor:
    head = ssdlite(SMALL, LABELS, anchors=ssd_anchors(smallest=0)).head
    assert isinstance(head, SsdHead)
    return torch.tensor(anchors(head, (size, size)))


def some_boxes(seed: int, count: int, size: int = 320) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * size * 0.8
    return torch.cat([corner, (corner + 8 + torch.rand(count, 2, generator=generator) * size * 0.7).clamp(max=size)], 1)


# the module


@torch.inference_mode()
@pytest.mark.parametrize("padding", ["tf", "symmetric", "end"])
@pytest.mark.parametrize("name", PAPERS)
def test_there_is_an_output_for_every_anchor_at_any_input_size(name: str, padding: Padding) -> None:
    shapes = {"tf": ((320, 320), (97, 161)), "symmetric": ((33, 301),), "end": ((97, 161),)}
    spec = ssdlite(backbone(name, width=0.25, padding=padding), LABELS)
    assert isinstance(spec.head, SsdHead)
    with torch.device("meta"):
        model = Model(spec).eval()
        for shape in shapes[padding]:
            logits, offsets = model(torch.empty(2, 3, *shape))
            assert logits.shape == offsets.shape == (2, len(anchors(spec.head, shape)), 4)


@torch.inference_mode()
def test_full_convolutions_have_an_output_for_every_anchor_too() -> None:
    for kernel in (1, 3):
        spec = ssd(SMALL, LABELS, kernel=kernel)
        assert isinstance(spec.head, SsdHead)
        logits, _ = Model(spec).eval()(torch.zeros(1, 3, 65, 97))
        assert logits.shape == (1, len(anchors(spec.head, (65, 97))), 4)


@torch.inference_mode()
@pytest.mark.parametrize("shape", [(300, 300), (65, 191), (1, 1)])
@pytest.mark.parametrize("output_stride", [16, 32])
def test_every_map_has_the_size_that_its_anchors_have(shape: tuple[int, int], output_stride: int) -> None:
    spec = ssdlite(backbone("mobilenet_v3_small", output_stride=output_stride), LABELS)
    assert isinstance(spec.head, SsdHead)
    model = Model(spec).eval()
    maps = list(model.head.inputs(model.backbone, torch.zeros(1, 3, *shape)))
    for extra in model.head.extras:
        maps.append(extra(maps[-1]))
    assert [tuple(x.shape[2:]) for x in maps] == map_sizes(spec.head, shape)


@torch.inference_mode()
def test_outputs_stand_in_the_order_of_the_anchors() -> None:
    """The predictor of one map, made to tell where it is: its row, column and shape."""
    spec = ssdlite(SMALL, ("a", "b", "c"), size=64, activation="sigmoid")
    model = create(spec).eval()
    seen: list[Tensor] = []

    def tell(_module: torch.nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        n, channels, h, w = output.shape
        shape = torch.arange(channels) // 3
        row, column = torch.arange(h), torch.arange(w)
        told = torch.empty(n, channels, h, w)
        told[:, 0::3], told[:, 1::3] = row[:, None].float(), column.float()
        told[:, 2::3] = shape[2::3, None, None].float()
        seen.append(told)
        return told

    for predictor in model.head.logits:
        predictor.register_forward_hook(tell)
    logits, _ = model(torch.zeros(1, 3, 64, 64))
    assert isinstance(spec.head, SsdHead)
    own = anchors(spec.head, (64, 64))
    start = 0
    for (h, w), each in zip(map_sizes(spec.head, (64, 64)), spec.head.anchors, strict=True):
        for place in range(h * w * len(each)):
            row, column, shape = logits[0, start + place].tolist()
            x0, y0, x1, y1 = own[start + place]
            scale, ratio = each[int(shape)]
            assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx(((column + 0.5) * 64 / w, (row + 0.5) * 64 / h), abs=1e-3)
            assert (x1 - x0, y1 - y0) == pytest.approx((64 * scale * ratio**0.5, 64 * scale / ratio**0.5), rel=1e-4)
        start += h * w * len(each)
    assert start == len(own)


def test_names_of_the_weights() -> None:
    def beginnings(spec: ModelSpec) -> set[str]:
        names = (
            name for name in Model(spec).state_dict() if name.startswith(("head.extras.0", "head.logits.0", "head.offsets.5"))
        )
        return {name.rpartition(".")[0] for name in names}

    assert beginnings(ssdlite(SMALL, LABELS)) == {
        *(f"head.extras.0.{layer}.{part}" for layer in ("reduce", "depthwise", "expand") for part in ("conv", "norm")),
        *(f"head.{what}.depthwise.{part}" for what in ("logits.0", "offsets.5") for part in ("conv", "norm")),
        *("head.logits.0.predict", "head.offsets.5.predict"),
    }
    assert beginnings(ssd(SMALL, LABELS)) == {
        *(f"head.extras.0.{layer}.{part}" for layer in ("reduce", "expand") for part in ("conv", "norm")),
        *("head.logits.0.predict", "head.offsets.5.predict"),
    }


def test_outputs_have_their_names() -> None:
    model = create(ssdlite(SMALL, LABELS, size=64)).eval()
    named = model.named(model(torch.zeros(1, 3, 64, 64)))
    assert {name: output.shape[2] for name, output in named.items()} == {"logits": 4, "offsets": 4}


def test_sigmoid_scores_begin_at_the_prior() -> None:
    model = create(ssdlite(SMALL, LABELS, size=64, activation="sigmoid")).eval()
    for predictor in model.head.logits:
        assert isinstance(predictor, Predictor)
        assert predictor.predict.bias is not None
        assert torch.sigmoid(predictor.predict.bias[0]).item() == pytest.approx(PRIOR)


def test_same_seed_same_weights_and_a_new_head_keeps_the_backbone() -> None:
    first, second = create(ssdlite(SMALL, LABELS), seed=3), create(ssdlite(SMALL, LABELS), seed=3)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True))
    other = rebuilt(first, replace(first.spec, labels=("a", "b")))
    kept, known = other.backbone.state_dict(), first.backbone.state_dict()
    assert all(torch.equal(kept[name], known[name]) for name in known)
    assert other.head.logits[0].predict.weight.std().item() == pytest.approx(0.03, rel=0.1)


def test_a_batch_of_one_image_trains_though_its_last_maps_are_single_places() -> None:
    model = create(ssdlite(SMALL, LABELS, size=128)).train()
    logits, offsets = model(torch.rand(1, 3, 128, 128))
    (logits.sum() + offsets.sum()).backward()
    assert logits.isfinite().all()


def test_maps_that_would_be_rounded_down_are_refused() -> None:
    spec = ssdlite(SMALL, LABELS)
    with pytest.raises(SpecError, match='padding "end" rounds them down'):
        Ssd(replace(spec.backbone, padding="end"), spec.head, 3)  # type: ignore[arg-type]  # it is an SsdHead


# matching


@pytest.mark.parametrize("seed", range(20))
def test_matches_are_torchvisions_where_no_two_boxes_want_the_same_anchor(seed: int) -> None:
    own, boxes = anchors_of(), some_boxes(seed, 6)
    overlaps = box_iou(boxes, own)
    assert len(set(overlaps.argmax(1).tolist())) == 6
    labels = torch.arange(6)
    expected = SSDMatcher(0.5)(overlaps)
    found = match(boxes, labels, own, variances=VARIANCES)
    assert torch.equal(found.classes, torch.where(expected >= 0, expected + 1, 0))
    matched = expected >= 0
    codes = BoxCoder(WEIGHTS).encode_single(boxes[expected[matched]], own[matched])
    torch.testing.assert_close(found.offsets[matched], codes, rtol=1e-4, atol=1e-4)
    assert not found.offsets[~matched].any()


def test_matches_by_hand() -> None:
    boxes = torch.tensor([[1.0, 0, 10, 10], [0, 0, 19, 20]])  # 0.9 of anchor 0; 0.95 of the large one
    found = match(boxes, torch.tensor([2, 0]), GRID, variances=VARIANCES)
    assert found.classes.tolist() == [3, 0, 0, 0, 1]
    np.testing.assert_allclose(found.offsets[0], [0.5, 0, 5 * math.log(0.9), 0], atol=1e-5)  # 0.05 of the side, over 0.1


def test_a_small_box_has_its_best_anchor_however_little_they_overlap() -> None:
    found = match(torch.tensor([[12.0, 12, 13, 13]]), torch.tensor([1]), GRID, variances=VARIANCES)
    assert found.classes.tolist() == [0, 0, 0, 2, 0]


def test_boxes_that_want_the_same_anchor_each_have_one() -> None:
    same = torch.tensor([[0.0, 0, 9, 10], [0, 0, 10, 10], [0, 0, 8, 10]])
    found = match(same, torch.tensor([0, 1, 2]), GRID, variances=VARIANCES)
    assert found.classes[0] == 2  # the closest one
    assert found.classes[4] == 1  # 0.225 of the large anchor, the next of the others
    assert sorted(found.classes.tolist()) == [0, 0, 0, 1, 2]  # the third overlaps no other anchor


@pytest.mark.parametrize("count", [40, 200])
def test_many_boxes_on_the_same_place_all_have_an_anchor(count: int) -> None:
    own = anchors_of()
    boxes = torch.tensor([[100.0, 100, 200, 200]]) + torch.linspace(0, 3, count)[:, None]
    found = match(boxes, torch.arange(count), own, variances=VARIANCES, threshold=0.99)
    assert set(range(1, count + 1)) <= set(found.classes.tolist())


def test_no_boxes_are_all_background() -> None:
    found = match(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), GRID, variances=VARIANCES)
    assert found.classes.tolist() == [BACKGROUND] * 5
    assert found.offsets.shape == (5, 4)


def test_boxes_without_area_match_nothing_and_leave_no_nan() -> None:
    boxes = torch.tensor([[3.0, 3, 3, 9], [30, 30, 40, 40]])  # a line; one beyond the anchors
    found = match(boxes, torch.tensor([0, 1]), GRID, variances=VARIANCES)
    assert found.classes.tolist() == [BACKGROUND] * 5
    assert found.offsets.isfinite().all()


def test_anchors_inside_an_ignored_box_teach_nothing_unless_matched() -> None:
    boxes = torch.tensor([[0.0, 0, 20, 10], [0, 0, 10, 10]])
    found = match(boxes, torch.tensor([0, 1]), GRID, variances=VARIANCES, ignored=torch.tensor([True, False]))
    assert found.classes.tolist() == [2, IGNORED, 0, 0, IGNORED]  # half of the large anchor lies in it
    alone = match(boxes[:1], torch.tensor([0]), GRID, variances=VARIANCES, ignored=torch.tensor([True]))
    assert alone.classes.tolist() == [IGNORED, IGNORED, 0, 0, IGNORED]


def test_the_best_anchor_of_a_small_ignored_box_teaches_nothing() -> None:
    found = match(
        torch.tensor([[12.0, 12, 13, 13]]), torch.tensor([1]), GRID, variances=VARIANCES, ignored=torch.tensor([True])
    )
    assert found.classes.tolist() == [0, 0, 0, IGNORED, 0]
    line = match(torch.tensor([[3.0, 3, 3, 9]]), torch.tensor([1]), GRID, variances=VARIANCES, ignored=torch.tensor([True]))
    assert line.classes.tolist() == [0] * 5


def test_decoding_gives_the_encoded_boxes_back() -> None:
    own = anchors_of()
    boxes = some_boxes(0, len(own))
    codes = encode(boxes, own, VARIANCES)
    np.testing.assert_allclose(boxes_of(codes.numpy(), own.numpy(), VARIANCES), boxes, atol=1e-2)


# losses


def batch(seed: int, columns: int) -> tuple[Tensor, Tensor, Targets]:
    generator = torch.Generator().manual_seed(seed)
    own = anchors_of()
    each = [match(some_boxes(seed * 10 + i, 4), torch.arange(4) % 3, own, variances=VARIANCES) for i in range(3)]
    targets = Targets(torch.stack([one.classes for one in each]), torch.stack([one.offsets for one in each]))
    logits = torch.randn(3, len(own), columns, generator=generator)
    return logits, torch.randn(3, len(own), 4, generator=generator), targets


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_torchvisions(seed: int) -> None:
    logits, offsets, targets = batch(seed, 4)
    own = anchors_of()
    matched, truths = [], []
    for i in range(3):
        boxes = some_boxes(seed * 10 + i, 4)
        truths.append({"boxes": boxes, "labels": torch.arange(4) % 3 + 1})
        matched.append(SSDMatcher(0.5)(box_iou(boxes, own)))
    model = SimpleNamespace(box_coder=BoxCoder(WEIGHTS), neg_to_pos_ratio=3.0)
    outputs = {"bbox_regression": offsets, "cls_logits": logits}
    expected = SSD.compute_loss(model, truths, outputs, [own] * 3, matched)
    found = loss(logits, offsets, targets, torch.ones(3), activation="softmax")
    assert found.item() == pytest.approx(sum(one.item() for one in expected.values()), rel=1e-5)


# one image, five anchors: 0 is of label 1, 4 is ignored, the others are background
CLASSES = torch.tensor([[2, BACKGROUND, BACKGROUND, BACKGROUND, IGNORED]])
OFFSETS = torch.zeros(1, 5, 4)
TARGETS = Targets(CLASSES, torch.tensor([[[0.5, 2.0, 0, 0], *[[9.0] * 4] * 4]]))  # those of unmatched anchors do not count
BOX_LOSS = 0.5 * 0.5**2 + (2 - 0.5)  # smooth L1
ONE = torch.ones(1)


def test_softmax_loss_by_hand() -> None:
    logits = torch.zeros(1, 5, 3)
    logits[0, 1, 0] = 10  # surely background
    logits[0, 2, 1] = 10  # surely not
    logits[0, 4] = torch.tensor([-50.0, 0, 0])
    background = math.log(1 + 2 * math.exp(-10)) + math.log(2 + math.exp(10)) + math.log(3)
    found = loss(logits, OFFSETS, TARGETS, ONE, activation="softmax")
    assert found.item() == pytest.approx(math.log(3) + background + BOX_LOSS)


def test_sigmoid_loss_by_hand() -> None:
    logits = torch.zeros(1, 5, 2)
    half = math.log(2)
    expected = 2 * half + 3 * 2 * half + 0.5 * BOX_LOSS  # two labels at each of four anchors
    found = loss(logits, OFFSETS, TARGETS, ONE, activation="sigmoid", box_share=0.5)
    assert found.item() == pytest.approx(expected)


def test_focal_loss_by_hand() -> None:
    logits = torch.full((1, 5, 2), -math.log(3.0))  # a score of 1/4
    logits[0, 4] = 40.0
    right, wrong = 0.75 * 0.75**2 * math.log(4), 0.25 * 0.25**2 * math.log(4 / 3)
    found = focal_loss(logits, OFFSETS, TARGETS, ONE)
    assert found.item() == pytest.approx(right + 7 * wrong + BOX_LOSS, rel=1e-5)


def test_the_hardest_negatives_of_each_image_count() -> None:
    classes = torch.tensor([[0, 0, 1, 0, 0, 0, -1], [0, 0, 0, 0, 0, 0, 0]])
    losses = torch.tensor([[1.0, 5, 9, 3, 2, 4, 9], [6, 5, 4, 3, 2, 1, 0]])
    picked = hard_negatives(losses, classes, 4)
    assert picked[0].nonzero().flatten().tolist() == [1, 3, 4, 5]
    assert picked[1].nonzero().flatten().tolist() == [0, 1, 2]  # three, even where nothing is


def test_weights_scale_images_and_a_weight_of_0_leaves_one_out() -> None:
    logits, offsets, targets = batch(0, 4)
    first = Targets(targets.classes[:1], targets.offsets[:1])
    alone = loss(logits[:1], offsets[:1], first, ONE, activation="softmax")
    assert loss(logits, offsets, targets, torch.tensor([1.0, 0, 0]), activation="softmax").item() == pytest.approx(alone.item())
    one, two = (focal_loss(logits[..., 1:], offsets, targets, torch.full((3,), weight)) for weight in (1.0, 2.0))
    assert two.item() == pytest.approx(2 * one.item())


def test_a_batch_without_objects_has_a_finite_loss_with_gradients() -> None:
    logits, offsets = torch.zeros(2, 5, 3, requires_grad=True), torch.zeros(2, 5, 4, requires_grad=True)
    nothing = Targets(torch.zeros(2, 5, dtype=torch.int64), torch.zeros(2, 5, 4))
    found = loss(logits, offsets, nothing, torch.ones(2), activation="softmax")
    found.backward()  # type: ignore[no-untyped-call]  # torch leaves it so
    assert found.item() == pytest.approx(2 * 3 * math.log(3))
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert offsets.grad is not None
    assert not offsets.grad.any()


def test_a_detector_learns_one_image() -> None:
    torch.manual_seed(0)
    spec = ssdlite(backbone("mobilenet_v3_small", width=0.35), LABELS, size=96)
    assert isinstance(spec.head, SsdHead)
    own = torch.tensor(anchors(spec.head, (96, 96)))
    target = match(torch.tensor([[10.0, 10, 50, 60]]), torch.tensor([1]), own, variances=VARIANCES)
    targets = Targets(target.classes.expand(2, -1), target.offsets.expand(2, -1, -1))
    model = create(spec).train()
    images = torch.randn(2, 3, 96, 96)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    values = []
    for _ in range(25):
        optimizer.zero_grad()
        logits, offsets = model(images)
        value = loss(logits, offsets, targets, torch.ones(2), activation="softmax")
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it so
        optimizer.step()
        values.append(value.item())
    assert values[-1] < values[0] / 3
