from __future__ import annotations

import numpy as np
from PIL import Image

from mobilenets.runtime.classify import Classification
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.segment.decode import Segmentation


def test_each_prediction_is_drawn_on_a_copy() -> None:
    image = Image.new("RGB", (60, 40))
    found = Detections(("a",), np.array([[10, 15, 50, 35]], np.float32), np.array([0.9], np.float32), np.zeros(1, np.int64))
    areas = Segmentation(("a",), ((200, 100, 0),), np.zeros((40, 60), np.uint8), np.empty((0, 0, 0), np.float32))
    boxes, colors = np.asarray(found.draw(image)), np.asarray(areas.draw(image))
    assert boxes[34, 30].any()
    assert not boxes[25, 30].any()
    np.testing.assert_allclose(colors[20, 30], [120, 60, 0], atol=1)  # 60% opaque
    assert image.getextrema() == ((0, 0),) * 3


def test_the_label_of_an_image_stands_in_its_corner() -> None:
    image = Image.new("RGB", (200, 120), "red")
    label = Classification(("a", "b"), np.array([0.1, 0.9], np.float32), np.zeros(2, np.float32))
    drawn = np.asarray(label.draw(image))
    assert (drawn[:20, :60] == 255).all(axis=-1).any()  # white letters
    assert (drawn[60:] == (255, 0, 0)).all()
