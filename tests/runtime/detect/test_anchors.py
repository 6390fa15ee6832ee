from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mobilenets.runtime.detect.anchors import anchors, map_sizes
from mobilenets.specs.families import backbone
from mobilenets.specs.ssd import SsdHead, ssd_anchors, ssdlite


def head(**settings: object) -> SsdHead:
    made = ssdlite(backbone("mobilenet_v2"), ["cat"]).head
    assert isinstance(made, SsdHead)
    return replace(made, **settings)  # type: ignore[arg-type]  # settings of any field


ONE_MAP = head(maps=("s32",), strides=(32,), extras=(), anchors=(((0.5, 1.0), (0.25, 4.0)),))


def test_anchors_by_hand() -> None:
    # 64 x 64: places 2 x 2, centers at 16 and 48; shapes 32 x 32 and 32 x 8
    found = anchors(ONE_MAP, (64, 64))
    expected = [
        *([0, 0, 32, 32], [0, 12, 32, 20]),
        *([32, 0, 64, 32], [32, 12, 64, 20]),
        *([0, 32, 32, 64], [0, 44, 32, 52]),
        *([32, 32, 64, 64], [32, 44, 64, 52]),
    ]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_scale_is_a_share_of_the_shorter_side_and_squares_stay_square() -> None:
    found = anchors(ONE_MAP, (64, 128))
    np.testing.assert_allclose(found[0], [0, 0, 32, 32], atol=1e-5)  # centers at 16 48 80 112 across, 16 48 down
    np.testing.assert_allclose(found[-2], [96, 32, 128, 64], atol=1e-5)


def test_places_spread_evenly_over_sizes_that_strides_do_not_divide() -> None:
    found = anchors(ONE_MAP, (33, 96))  # two places down, three across
    centers = (found[::2, :2] + found[::2, 2:]) / 2
    np.testing.assert_allclose(centers[:, 0], [16, 48, 80] * 2, atol=1e-4)
    np.testing.assert_allclose(centers[:, 1], [8.25] * 3 + [24.75] * 3, atol=1e-4)


def test_map_sizes_at_the_papers_input() -> None:
    assert map_sizes(head(), (320, 320)) == [(n, n) for n in (20, 10, 5, 3, 2, 1)]
    assert map_sizes(head(), (300, 300)) == [(n, n) for n in (19, 10, 5, 3, 2, 1)]  # as TensorFlow's SSD at 300
    assert len(anchors(head(), (300, 300))) == 1917  # what TensorFlow's SSD networks of that size have


@pytest.mark.parametrize("size", [320, 300, 97])
def test_they_are_torchvisions_default_boxes(size: int) -> None:
    torch = pytest.importorskip("torch")
    from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
    from torchvision.models.detection.image_list import ImageList

    ours = head(anchors=ssd_anchors(smallest=0), clip=True)
    maps = [torch.zeros(1, 1, h, w) for h, w in map_sizes(ours, (size, size))]
    generator = DefaultBoxGenerator([[2, 3]] * 6, min_ratio=0.2, max_ratio=0.95)
    [expected] = generator(ImageList(torch.zeros(1, 3, size, size), [(size, size)]), maps)
    np.testing.assert_array_equal(anchors(ours, (size, size)), expected.numpy())


def test_without_clip_anchors_are_wider_than_the_input() -> None:
    sides = anchors(head(), (320, 320))[-6:]
    assert (sides[:, 2] - sides[:, 0]).max() == pytest.approx(0.95 * 3**0.5 * 320, rel=1e-5)


def test_the_shared_array_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        anchors(head(), (320, 320))[0, 0] = 1
