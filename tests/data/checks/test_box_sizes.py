from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mobilenets.data.boxes import Box
from mobilenets.data.checks.box_sizes import box_sizes, default_head
from mobilenets.data.checks.boxes import size_remarks
from mobilenets.data.samples import Dataset, Sample
from mobilenets.specs.ssd import SsdHead

HEAD = SsdHead(maps=("s16",), strides=(16,), anchors=(((0.1, 1.0),),), extras=())  # one of 32 x 32 px at each place of 320


def _dataset(*boxes: Box) -> Dataset:
    return Dataset(("cat", "dog"), (Sample(Path("a.jpg"), -1, "train", name="a.jpg", boxes=boxes),), task="detect")


def test_a_box_is_measured_on_the_input_against_its_best_anchor() -> None:
    """The image is twice the input: 64 px around the center of a cell are an anchor, 32 px a quarter of one."""
    center = 2 * (16 * 5 + 8)
    boxes = (
        Box(0, center - 32, center - 32, center + 32, center + 32),
        Box(1, center - 16, center - 16, center + 16, center + 16),
        Box(1, center - 2, center - 2, center + 2, center + 2),
        Box(1, 5, 5, 5, 9),
        Box(1, 5, 5, 100, 100, crowd=True),
        Box(1, 5, 5, 100, 100, difficult=True),
    )
    sizes = box_sizes(_dataset(*boxes), [(640, 640)], HEAD, (320, 320))
    assert sizes.classes.tolist() == [0, 1, 1]
    assert sizes.sides == pytest.approx([32, 16, 2])
    assert sizes.overlaps == pytest.approx([1, 1 / 4, 1 / 256], abs=1e-5)
    assert [(one.low, one.boxes) for one in sizes.bins()] == [(0, 1), (8, 0), (16, 1), (32, 1)]
    assert [(one.matched, one.uncovered) for one in sizes.bins()[::3]] == [(0, 1), (1, 0)]


def test_classes_that_the_input_cannot_show_are_named() -> None:
    small = [Box(0, 100 + 10 * k, 100, 104 + 10 * k, 104) for k in range(3)]
    thin = [Box(1, 0, 10 * k, 320, 10 * k + 2) for k in range(2)]
    sizes = box_sizes(_dataset(*small, *thin), [(320, 320)], HEAD, (320, 320))
    assert [one.code for one in size_remarks(sizes)] == ["too-small", "unmatched", "uncovered", "unmatched"]
    assert next(size_remarks(sizes)).message.startswith("3 of 3 boxes of 'cat' are below 8 x 8 px on an input of 320 x 320")
    assert not list(size_remarks(box_sizes(_dataset(), [(320, 320)], HEAD, (320, 320))))


def test_an_image_of_unknown_size_is_passed_over() -> None:
    sizes = box_sizes(_dataset(Box(0, 1, 1, 5, 5)), [None], HEAD, (320, 320))
    assert (len(sizes.sides), sizes.bins()) == (0, ())


def test_the_default_detector_is_the_papers_ssdlite() -> None:
    head = default_head(("cat",))
    assert head.strides == (16, 32, 64, 128, 256, 512)
    assert np.isclose(head.anchors[0][0][0], 0.1)
