from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mobilenets.errors import UsageError
from mobilenets.runtime.classify import Classification
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.drawing import draw
from mobilenets.runtime.segment.decode import Segmentation


def test_each_prediction_is_drawn_on_a_copy() -> None:
    image = Image.new("RGB", (60, 40))
    found = Detections(("a",), np.array([[10, 15, 50, 35]], np.float32), np.array([0.9], np.float32), np.zeros(1, np.int64))
    areas = Segmentation(("a",), ((200, 100, 0),), np.zeros((40, 60), np.uint8), np.empty((0, 0, 0), np.float32))
    boxes, colors = np.asarray(draw(image, found)), np.asarray(draw(image, areas))
    assert boxes[34, 30].any()
    assert not boxes[25, 30].any()
    np.testing.assert_allclose(colors[20, 30], [120, 60, 0], atol=1)  # 60% opaque
    assert image.getextrema() == ((0, 0),) * 3


def test_labels_of_an_image_are_not_drawn() -> None:
    with pytest.raises(UsageError, match="not drawn"):
        draw(Image.new("RGB", (60, 40)), Classification(("a",), np.ones(1, np.float32), np.ones(1, np.float32)))
