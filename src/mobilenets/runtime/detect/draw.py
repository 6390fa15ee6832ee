"""Boxes drawn on images, with Pillow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from mobilenets.runtime.segment.palette import Color, colors_for

if TYPE_CHECKING:
    from mobilenets.runtime.detect.decode import Detections


@dataclass(frozen=True, slots=True)
class Mark:
    """A box to draw.

    Args:
        box: x0 y0 x1 y1, px.
        text: text at the box's upper left corner; "" for none.
        color: color of the lines and of the text's background.
        dashed: whether the lines are dashed.
    """

    box: tuple[float, float, float, float]
    text: str
    color: Color
    dashed: bool = False


def draw_detections(image: Image.Image, detections: Detections) -> Image.Image:
    """A copy of the image in RGB with each detection's box, label and score in its class's color; the best ones on top.

    Args:
        image: upright and at its full size, as `decode_image` gives it.
        detections: the detections on that image.
    """
    colors = colors_for(detections.labels)
    rows = zip(detections.each(), detections.classes.tolist(), strict=True)
    marks = [Mark(box, f"{label} {score:.0%}", colors[index]) for (label, score, box), index in rows]
    return draw_marks(image, reversed(marks))


def draw_marks(
    image: Image.Image, marks: Iterable[Mark], *, text_px: int | None = None, line_px: int | None = None
) -> Image.Image:
    """A copy of the image in RGB with the marks drawn on it, later ones on top. All texts are above all lines.

    Args:
        text_px: height of the text; by default a thirtieth of the shorter side.
        line_px: thickness of the lines; by default a 180th of the shorter side.
    """
    drawn = image.copy() if image.mode == "RGB" else image.convert("RGB")
    pen = ImageDraw.Draw(drawn)
    shorter = min(drawn.size)
    thickness = line_px or max(1, round(shorter / 180))
    font = ImageFont.load_default(text_px or max(11, round(shorter / 30)))
    all_marks = list(marks)
    for mark in all_marks:
        _outline(pen, mark, thickness)
    for mark in all_marks:
        if mark.text:
            _text(pen, mark, font, thickness, drawn.size)
    return drawn


def _outline(pen: ImageDraw.ImageDraw, mark: Mark, thickness: int) -> None:
    x0, y0 = round(mark.box[0]), round(mark.box[1])
    x1, y1 = max(x0, round(mark.box[2]) - 1), max(y0, round(mark.box[3]) - 1)  # edges to the last pixels inside them
    if not mark.dashed:
        pen.rectangle((x0, y0, x1, y1), outline=mark.color, width=thickness)
        return
    dash = 4 * thickness
    reach = thickness - 1
    for x in range(x0, x1 + 1, 2 * dash):
        for y in (y0, max(y0, y1 - reach)):
            pen.rectangle((x, y, min(x + dash, x1), min(y + reach, y1)), fill=mark.color)
    for y in range(y0, y1 + 1, 2 * dash):
        for x in (x0, max(x0, x1 - reach)):
            pen.rectangle((x, y, min(x + reach, x1), min(y + dash, y1)), fill=mark.color)


def _text(
    pen: ImageDraw.ImageDraw,
    mark: Mark,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    thickness: int,
    size: tuple[int, int],
) -> None:
    """Draw the text on a background of the mark's color: above the box, or inside it if there is no room above."""
    left, top, right, bottom = pen.textbbox((0, 0), mark.text, font=font)
    width, height = right - left + 4 * thickness, bottom - top + 4 * thickness
    x = max(0, min(round(mark.box[0]), size[0] - round(width)))
    above = round(mark.box[1] - height)
    y = above if above >= 0 else max(0, round(mark.box[1]))
    pen.rectangle((x, y, x + width, y + height), fill=mark.color)
    red, green, blue = mark.color
    bright = 0.299 * red + 0.587 * green + 0.114 * blue > 140
    pen.text((x + 2 * thickness - left, y + 2 * thickness - top), mark.text, font=font, fill="black" if bright else "white")
