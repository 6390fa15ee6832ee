"""Predictions drawn on images, as each task draws them."""

from __future__ import annotations

from PIL import Image

from mobilenets.errors import UsageError
from mobilenets.runtime.decoders import Prediction
from mobilenets.runtime.detect import draw as draw_boxes
from mobilenets.runtime.detect.decode import Detections
from mobilenets.runtime.segment import draw as segment_draw
from mobilenets.runtime.segment.decode import Segmentation


def draw(image: Image.Image, prediction: Prediction) -> Image.Image:
    """A copy of the image in RGB: with boxes, labels and scores of a detector, in a segmenter's colors.

    Args:
        image: upright and at its full size, as `decode_image` gives it.
        prediction: of that image.

    Raises:
        UsageError: labels of a whole image are not drawn.
    """
    if isinstance(prediction, Detections):
        return draw_boxes.draw(image, prediction)
    if isinstance(prediction, Segmentation):
        return segment_draw.overlay(image, prediction.classes, prediction.colors)
    raise UsageError("a classifier's labels are not drawn on images", hint="detectors and segmenters have something to draw")
