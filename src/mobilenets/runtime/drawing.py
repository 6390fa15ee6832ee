"""Predictions drawn on pictures, as each task draws them."""

from __future__ import annotations

from PIL import Image

from mobilenets.errors import UsageError
from mobilenets.runtime import draw_boxes, segment_draw
from mobilenets.runtime.decoders import Prediction
from mobilenets.runtime.detect import Detections
from mobilenets.runtime.segment import Segmentation


def draw(picture: Image.Image, prediction: Prediction) -> Image.Image:
    """A copy of the picture in RGB: with boxes, labels and scores of a detector, in a segmenter's colors.

    Args:
        picture: upright and at its full size, as `image.decode` gives it.
        prediction: of that picture.

    Raises:
        UsageError: labels of a whole picture are not drawn.
    """
    if isinstance(prediction, Detections):
        return draw_boxes.draw(picture, prediction)
    if isinstance(prediction, Segmentation):
        return segment_draw.overlay(picture, prediction.classes, prediction.colors)
    raise UsageError("a classifier's labels are not drawn on pictures", hint="detectors and segmenters have something to draw")
