from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mobilenets.errors import CheckpointError, UsageError
from mobilenets.runtime.images.placement import placement
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.segment import decode as segment
from mobilenets.specs.deeplab import DeepLabHead
from mobilenets.specs.model import InputContract, Resize

LABELS = ("background", "cat", "dog")


def manifest(height: int, width: int, resize: Resize = "stretch", head: DeepLabHead = DeepLabHead()) -> Manifest:  # noqa: B008
    return Manifest("some", LABELS, InputContract(size=height, wide=width, resize=resize, crop=1.0), head)


def logits(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("size", [(64, 48), (100, 37), (20, 90)])
def test_a_stretched_image_gets_torchs_interpolation_to_its_own_size(size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    coarse = logits(2, 3, 4, 3)
    one = manifest(64, 48)
    place = placement(size[1], size[0], one.input)
    expected = torch.nn.functional.interpolate(torch.from_numpy(coarse), size, mode="bilinear").argmax(1).numpy()
    found = segment.decode_segmentations({"logits": coarse}, one, [place, place])
    for i in range(2):
        assert found[i].classes.shape == size
        assert (found[i].classes == expected[i]).mean() > 0.998  # elsewhere two are equal but for rounding


def test_aligned_corners_are_tensorflows() -> None:
    torch = pytest.importorskip("torch")
    coarse = logits(1, 3, 5, 5)
    one = manifest(65, 65, head=DeepLabHead(align_corners=True))
    scores = torch.nn.functional.interpolate(torch.from_numpy(coarse), (65, 65), mode="bilinear", align_corners=True)
    found = segment.decode_segmentations({"logits": coarse}, one, [placement(65, 65, one.input)])[0]
    assert (found.classes == scores[0].argmax(0).numpy()).mean() > 0.999


def test_the_padding_of_a_letterbox_is_cut() -> None:
    coarse = np.full((1, 3, 8, 8), -9, np.float32)
    coarse[0, 0, :2] = coarse[0, 0, -2:] = 9  # where the input is padded
    coarse[0, 1, 2:-2, :4] = 9
    coarse[0, 2, 2:-2, 4:] = 9
    one = manifest(64, 64, "letterbox")
    place = placement(200, 100, one.input)  # 64 x 32 of the input
    classes = segment.decode_segmentations({"logits": coarse}, one, [place])[0].classes
    assert classes.shape == (100, 200)
    assert (classes[15:-15, :90] == 1).all()
    assert (classes[15:-15, 110:] == 2).all()


def test_the_confidence_is_softmaxs_largest() -> None:
    torch = pytest.importorskip("torch")
    coarse = logits(1, 3, 4, 4)
    one = manifest(32, 32)
    found = segment.decode_segmentations({"logits": coarse}, one, [placement(50, 40, one.input)])[0]
    scores = torch.nn.functional.interpolate(torch.from_numpy(coarse), (40, 50), mode="bilinear").softmax(1)
    np.testing.assert_allclose(found.confidence(), scores[0].max(0).values.numpy(), atol=1e-5)


def test_areas_and_labels_by_share() -> None:
    classes = np.array([[1, 1, 1, 0]], np.uint8)
    found = segment.Segmentation(LABELS, ((0, 0, 0),) * 3, classes, np.empty((0, 0, 0), np.float32))
    assert found.areas.tolist() == [1, 3, 0]
    assert found.present() == [("cat", 0.75), ("background", 0.25)]


def test_a_network_that_gives_classes_is_taken_at_its_word() -> None:
    one = manifest(2, 4)
    given = np.array([[[0, 1, 2, 2], [0, 0, 0, 1]]])
    found = segment.decode_segmentations({"classes": given}, one, [placement(8, 2, one.input)])[0]
    assert found.classes.tolist() == [[0, 0, 1, 1, 2, 2, 2, 2], [0, 0, 0, 0, 0, 0, 1, 1]]
    with pytest.raises(UsageError, match="were not kept"):
        found.confidence()


def test_given_classes_are_never_mixed_and_lose_the_padding_of_a_letterbox() -> None:
    one = manifest(8, 8, "letterbox")
    given = np.zeros((1, 8, 8), np.float32)
    given[0, 2:6, 1::2] = 2  # the image lies in rows 2 to 5; columns in turn, whose mean would be 1
    found = segment.decode_segmentations({"classes": given}, one, [placement(40, 20, one.input)])[0]  # 5 px each
    assert found.classes.dtype == np.uint8
    np.testing.assert_array_equal(found.classes, np.tile(np.repeat([0, 2], 5), (20, 4)))
    half = segment.decode_segmentations({"classes": given}, one, [placement(4, 2, one.input)])[0]
    assert half.classes.shape == (2, 4)
    assert set(np.unique(half.classes)) <= {0, 2}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((1, 1, 2, 4)), "classes of shape 1 x 1 x 2 x 4 but its input is 2 x 4 px"),
        (np.zeros((1, 4, 8)), "classes of shape 1 x 4 x 8 but"),
        (np.full((1, 2, 4), 3), "gives a class 3 but its manifest has 3 labels"),
    ],
)
def test_given_classes_that_do_not_fit_are_refused(given: NDArray[np.float32], message: str) -> None:
    one = manifest(2, 4)
    with pytest.raises(CheckpointError, match=message):
        segment.decode_segmentations({"classes": given}, one, [placement(8, 2, one.input)])


def test_logits_that_do_not_fit_the_labels_are_refused() -> None:
    one = manifest(32, 32)
    place = placement(8, 8, one.input)
    with pytest.raises(CheckpointError, match="1 x 4 x 2 x 2 but its manifest has 3 labels"):
        segment.decode_segmentations({"logits": logits(1, 4, 2, 2)}, one, [place])
    with pytest.raises(CheckpointError, match="gives boxes, not 'logits'"):
        segment.decode_segmentations({"boxes": logits(1, 4)}, one, [place])


def test_colors_are_the_models_or_ours() -> None:
    own = ((1, 2, 3), (4, 5, 6), (7, 8, 9))
    assert segment.colors(manifest(8, 8, head=DeepLabHead(colors=own))) == own
    assert segment.colors(manifest(8, 8))[0] == (0, 0, 0)
    assert segment.colors(replace(manifest(8, 8), labels=("cat",)))[0] != (0, 0, 0)
