from __future__ import annotations

import numpy as np
from PIL import Image

from mobilenets.runtime.detect.decode import Detections, none
from mobilenets.runtime.detect.draw import Mark, draw_detections, draw_marks
from mobilenets.runtime.segment.palette import colors_for

RED = (255, 0, 0)


def found(*boxes: tuple[float, float, float, float]) -> Detections:
    count = len(boxes)
    scores = np.linspace(0.9, 0.5, count, dtype=np.float32)
    return Detections(("cat", "dog"), np.array(boxes, np.float32).reshape(-1, 4), scores, np.arange(count) % 2)


def test_a_box_is_drawn_on_the_pixels_inside_its_edges() -> None:
    drawn = np.asarray(draw_marks(Image.new("RGB", (40, 30)), [Mark((10, 5, 20, 25), "", RED)]))
    ys, xs = np.nonzero(drawn[:, :, 0])
    assert (xs.min(), xs.max() + 1, ys.min(), ys.max() + 1) == (10, 20, 5, 25)
    assert drawn[15, 15].tolist() == [0, 0, 0]


def test_a_box_has_the_color_of_its_class() -> None:
    image = Image.new("RGB", (200, 200), "white")
    drawn = draw_detections(image, found((50, 50, 100, 100), (120, 120, 180, 180)))
    colors = colors_for(("cat", "dog"))
    assert (drawn.getpixel((99, 99)), drawn.getpixel((179, 179))) == colors


def test_the_highest_score_lies_on_top() -> None:
    drawn = draw_detections(Image.new("RGB", (200, 200)), found((50, 50, 150, 150), (50, 50, 150, 150)))
    assert drawn.getpixel((149, 149)) == colors_for(("cat", "dog"))[0]


def test_the_image_itself_stays_as_it_is_and_grey_becomes_rgb() -> None:
    image = Image.new("L", (64, 64), 100)
    drawn = draw_detections(image, found((0, 0, 64, 64)))
    assert drawn.mode == "RGB"
    assert image.getextrema() == (100, 100)
    assert draw_detections(image, none(("cat",))).getextrema() == ((100, 100),) * 3


def test_text_is_inside_the_image_wherever_the_box_is() -> None:
    blank = np.asarray(Image.new("RGB", (300, 200)))
    for box in ((0, 0, 30, 30), (290, 190, 300, 200), (250, 0, 300, 200)):
        plain = np.asarray(draw_marks(Image.new("RGB", (300, 200)), [Mark(box, "", RED)]))
        labelled = np.asarray(draw_marks(Image.new("RGB", (300, 200)), [Mark(box, "giraffe 98%", RED)]))
        assert (labelled != blank).any(axis=2).sum() > (plain != blank).any(axis=2).sum() + 500


def test_a_dashed_box_has_gaps_and_stays_inside_its_edges() -> None:
    drawn = np.asarray(draw_marks(Image.new("RGB", (120, 120)), [Mark((10, 10, 110, 110), "", RED, dashed=True)]))
    top = drawn[10, 10:110, 0]
    assert 0.3 < (top > 0).mean() < 0.8
    ys, xs = np.nonzero(drawn[:, :, 0])
    assert (xs.min(), ys.min()) == (10, 10)
    assert max(xs.max(), ys.max()) < 110


def test_boxes_of_no_size_and_beyond_the_image_are_drawn_without_fuss() -> None:
    marks = [Mark((5, 5, 5, 5), "point", RED), Mark((-50, -50, 500, 500), "all", RED, dashed=True)]
    assert draw_marks(Image.new("RGB", (20, 10)), marks).size == (20, 10)
