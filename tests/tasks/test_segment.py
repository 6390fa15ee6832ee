from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mobilenets.model import Model, TorchEngine, create
from mobilenets.specs.deeplab import deeplab
from mobilenets.specs.families import PAPERS, backbone
from mobilenets.specs.lraspp import LrasppHead, lraspp
from mobilenets.specs.model import ModelSpec
from mobilenets.tasks import segment
from mobilenets.tasks.segment import Lraspp, PooledNorm, dice_loss, enlarge, loss, lovasz_loss

LABELS = ("sky", "road", "car")
MANY = tuple(str(i) for i in range(20))
SMALL = backbone("mobilenet_v2", width=0.35)
SPECS = {
    "deeplab": deeplab(SMALL, LABELS, filters=16),
    "r-aspp": deeplab(SMALL, LABELS, filters=16, rates=(), on="second_last"),
    "deeplab with decoder": deeplab(SMALL, LABELS, filters=16, decoder="s4"),
    "lraspp": lraspp(SMALL, LABELS, filters=16, reduced=True),
}
STRIDES = {"deeplab": 16, "r-aspp": 16, "deeplab with decoder": 4, "lraspp": 8}
ONE = torch.ones(1)


def made(spec: ModelSpec) -> Model:
    return create(spec).eval()


@torch.inference_mode()
@pytest.mark.parametrize("size", [(64, 64), (65, 97), (33, 130)])
@pytest.mark.parametrize("name", SPECS)
def test_logits_of_any_size_have_the_stride_of_their_map(name: str, size: tuple[int, int]) -> None:
    stride = STRIDES[name]
    logits = made(SPECS[name])(torch.rand(1, 3, *size))
    assert logits.shape == (1, 3, -(-size[0] // stride), -(-size[1] // stride))


@torch.inference_mode()
@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize("name", PAPERS)
def test_every_network_takes_both_heads(name: str, output_stride: int) -> None:
    network = backbone(name, width=0.25)
    with torch.device("meta"):
        atrous = Model(deeplab(network, LABELS, output_stride=output_stride, filters=8)).eval()
        light = Model(lraspp(network, LABELS, output_stride=output_stride, filters=8)).eval()
        x = torch.empty(1, 3, 96, 64)
        assert atrous(x).shape == (1, 3, 96 // output_stride, 64 // output_stride)
        assert light(x).shape == (1, 3, 12, 8)


@pytest.mark.parametrize("spec", [deeplab(SMALL, LABELS, auxiliary="s8"), lraspp(SMALL, LABELS, auxiliary="s16.first")])
def test_the_auxiliary_head_answers_in_training_alone(spec: ModelSpec) -> None:
    model, x = create(spec), torch.rand(2, 3, 64, 64)
    assert model.outputs == ("logits", "auxiliary")
    logits, auxiliary = model(x)
    assert logits.shape[1] == auxiliary.shape[1] == 3
    assert list(TorchEngine(model).run(x.numpy())) == ["logits"]
    assert model.eval().outputs == ("logits",)


@pytest.mark.parametrize("name", SPECS)
def test_a_batch_of_one_image_trains(name: str) -> None:
    model = create(SPECS[name]).train()
    model(torch.rand(1, 3, 64, 64)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_norm_of_one_pooled_image_uses_the_running_statistics() -> None:
    norm = PooledNorm(2)
    assert norm.running_mean is not None
    norm.running_mean.copy_(torch.tensor([1.0, 2.0]))
    found = norm(torch.tensor([3.0, 2.0]).reshape(1, 2, 1, 1))
    torch.testing.assert_close(found.flatten(), torch.tensor([2.0, 0.0]))
    assert norm.running_mean.tolist() == [1, 2]


def test_a_fresh_classifier_of_256_filters_is_tensorflows() -> None:
    model = made(deeplab(SMALL, LABELS))
    assert model.head.classifier.weight.std().item() == pytest.approx(0.01, rel=0.2)
    assert not model.head.classifier.bias.any()


@torch.no_grad()
@pytest.mark.parametrize("filters", [8, 32, 128])
@pytest.mark.parametrize("name", ["deeplab", "r-aspp", "lraspp"])
def test_fresh_logits_of_few_filters_are_neither_flat_nor_wild(name: str, filters: int) -> None:
    """The spread over the classes; with weights of 0.01 it is 0.01 to 0.1, and what lies before them hardly learns."""
    spec = {
        "deeplab": deeplab(SMALL, MANY, filters=filters, auxiliary="s8"),
        "r-aspp": deeplab(SMALL, MANY, filters=filters, auxiliary="s8", rates=(), on="second_last"),
        "lraspp": lraspp(SMALL, MANY, filters=filters, auxiliary="s16.first"),
    }[name]
    x = torch.rand(4, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for seed in range(3):
        for logits in create(spec, seed=seed).train()(x):
            assert 0.2 < logits.std(1).mean().item() < 3


def test_the_window_pools_parts_of_a_large_map() -> None:
    """On a map of 3 x 40 with a window of 8, strides 16 and 20: two windows of 3 x 8, at columns 0 and 20."""
    head = Lraspp(SMALL, LrasppHead(filters=4, window=8), 3)
    deep = torch.rand(1, SMALL.c_out, 3, 40)
    pooled = head._pooled(deep)
    expected = torch.stack([deep[..., 0:8].mean((2, 3)), deep[..., 20:28].mean((2, 3))], 2)[:, :, None]
    torch.testing.assert_close(pooled, expected)


def test_align_corners_keeps_the_corners() -> None:
    x = torch.rand(1, 2, 3, 3)
    large = enlarge(x, (9, 5), align_corners=True)
    torch.testing.assert_close(large[..., ::8, ::4], x[..., ::2, ::2])


def test_cross_entropy_is_torch_s_over_all_pixels_that_count() -> None:
    logits, mask = _random((2, 4, 6, 5), seed=1)
    mask[0, :3] = 255
    class_weights = torch.tensor([1.0, 2.0, 0.5, 3.0])
    weights = torch.ones(2)
    torch.testing.assert_close(loss(logits, mask, weights), functional.cross_entropy(logits, mask, ignore_index=255))
    torch.testing.assert_close(
        loss(logits, mask, weights, class_weights=class_weights),
        functional.cross_entropy(logits, mask, class_weights, ignore_index=255),
    )


def test_an_image_of_weight_0_adds_nothing() -> None:
    logits, mask = _random((2, 4, 6, 5), seed=2)
    one = functional.cross_entropy(logits[:1], mask[:1])
    torch.testing.assert_close(loss(logits, mask, torch.tensor([1.0, 0.0])), one / 2)


def test_coarse_logits_are_enlarged_to_the_mask() -> None:
    logits, mask = _random((1, 3, 2, 2), seed=3)[0], torch.zeros(1, 8, 6, dtype=torch.int64)
    large = functional.interpolate(logits, size=(8, 6), mode="bilinear", align_corners=False)
    torch.testing.assert_close(loss(logits, mask, ONE), functional.cross_entropy(large, mask))


def test_the_auxiliary_head_adds_half_of_its_own() -> None:
    logits, mask = _random((1, 3, 4, 4), seed=4)
    other = _random((1, 3, 4, 4), seed=5)[0]
    expected = functional.cross_entropy(logits, mask) + 0.5 * functional.cross_entropy(other, mask)
    torch.testing.assert_close(loss(logits, mask, ONE, auxiliary=other), expected)


def test_a_batch_where_nothing_counts_has_no_loss_and_no_gradient() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    mask = torch.full((1, 4, 4), 255)
    found = loss(logits, mask, ONE, dice=1.0, lovasz=1.0, class_weights=torch.ones(3), auxiliary=logits)
    found.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    assert found.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_dice_by_hand() -> None:
    """Class 0: 2 * 0.8 / (0.8 + 0.4 + 1); class 1: 2 * 0.6 / (0.6 + 0.2 + 1); class 2 does not occur."""
    scores = torch.tensor([[0.8, 0.4], [0.2, 0.6], [0.0, 0.0]]).reshape(1, 3, 1, 2)
    target = torch.tensor([[1, 0], [0, 1], [0, 0]]).reshape(1, 3, 1, 2)
    expected = 1 - (1.6 / 2.2 + 1.2 / 1.8) / 2
    assert dice_loss(scores, target, torch.ones(1, 1, 2)).item() == pytest.approx(expected, rel=1e-6)


def test_lovasz_of_certain_answers_is_1_less_the_mean_jaccard_index() -> None:
    """Class 0: 2 of 3; class 1: 1 of 2; class 2 does not occur."""
    answers, truth = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 1])
    scores, target = (functional.one_hot(classes, 3).T.reshape(1, 3, 1, 4) for classes in (answers, truth))
    found = lovasz_loss(scores.float(), target, torch.ones(1, 1, 4))
    assert found.item() == pytest.approx(1 - (2 / 3 + 1 / 2) / 2, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_lovasz_is_the_definition_s(seed: int) -> None:
    logits, mask = _random((2, 3, 3, 4), seed=seed)
    mask[0, 0, :2] = 255
    valid = mask != 255
    scores = logits.softmax(1)
    target = functional.one_hot(mask.where(valid, 0), 3).movedim(-1, 1)
    found = lovasz_loss(scores, target, valid.float())
    pixels = scores.movedim(1, -1)[valid].double().numpy()
    assert found.item() == pytest.approx(_lovasz_by_sets(pixels, mask[valid].numpy()), rel=1e-5)


def test_a_pixel_of_double_weight_counts_as_two_in_lovasz_and_dice() -> None:
    logits, mask = _random((2, 3, 2, 3), seed=9)
    scores, target = logits.softmax(1), functional.one_hot(mask, 3).movedim(-1, 1)
    both, truth = (torch.cat([part, part[:1]]) for part in (scores, target))
    counts = torch.tensor([2.0, 1.0])[:, None, None].expand(2, 2, 3)
    for term in (dice_loss, lovasz_loss):
        torch.testing.assert_close(term(scores, target, counts), term(both, truth, torch.ones(3, 2, 3)))


def test_shares_add_the_terms() -> None:
    logits, mask = _random((1, 3, 5, 4), seed=6)
    scores, target, counts = logits.softmax(1), functional.one_hot(mask, 3).movedim(-1, 1), torch.ones(1, 5, 4)
    found = loss(logits, mask, ONE, dice=0.5, lovasz=2.0)
    expected = functional.cross_entropy(logits, mask) + 0.5 * dice_loss(scores, target, counts)
    torch.testing.assert_close(found, expected + 2 * lovasz_loss(scores, target, counts))


def test_of_a_large_batch_dice_and_lovasz_look_at_a_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "OVERLAP_PIXELS", 24)
    logits, mask = _random((2, 3, 12, 9), seed=8)  # 216 pixels, of which every third of every third row is looked at
    some, its = logits[:, :, ::3, ::3], mask[:, ::3, ::3]
    scores, target, counts = some.softmax(1), functional.one_hot(its, 3).movedim(-1, 1), torch.ones(2, 4, 3)
    found = loss(logits, mask, torch.ones(2), dice=0.5, lovasz=2.0)
    expected = functional.cross_entropy(logits, mask) + 0.5 * dice_loss(scores, target, counts)
    torch.testing.assert_close(found, expected + 2 * lovasz_loss(scores, target, counts))


@pytest.mark.parametrize(("dice", "lovasz"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
def test_every_term_teaches_a_mask(dice: float, lovasz: float) -> None:
    logits, mask = _random((1, 3, 8, 8), seed=7)
    logits.requires_grad_(True)
    optimizer = torch.optim.SGD([logits], lr=20)
    for _ in range(100):
        optimizer.zero_grad()
        loss(logits, mask, ONE, dice=dice, lovasz=lovasz).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
    assert torch.equal(logits.argmax(1), mask)


def _random(shape: tuple[int, int, int, int], *, seed: int) -> tuple[Tensor, Tensor]:
    """Logits, and a mask of the same size."""
    generator = torch.Generator().manual_seed(seed)
    n, classes, height, width = shape
    return torch.randn(shape, generator=generator), torch.randint(0, classes, (n, height, width), generator=generator)


def _lovasz_by_sets(scores: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """The Lovász extension (Berman et al. 2018, eq. 8 and 9), from sets of mistaken pixels."""
    losses = []
    for label in sorted(set(truth.tolist())):
        foreground = {i for i, one in enumerate(truth) if one == label}
        errors = [1 - score if i in foreground else score for i, score in enumerate(scores[:, label])]
        mistaken: set[int] = set()
        total = before = 0.0
        for i in sorted(range(len(errors)), key=lambda i: -errors[i]):
            mistaken.add(i)
            now = len(mistaken) / len(foreground | mistaken)
            total += errors[i] * (now - before)
            before = now
        losses.append(total)
    return float(np.mean(losses))
