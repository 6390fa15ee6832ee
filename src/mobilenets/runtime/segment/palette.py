"""Colors of classes, for images of masks."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

Color = tuple[int, int, int]

BACKGROUND = frozenset(("background", "__background__", "_background_"))
"""Usual names of the background class, in lower case. It is black."""

# fmt: off
_FIRST: tuple[Color, ...] = (  # easy to tell apart side by side, on a photo and in grey
    ( 31, 119, 180), (255, 127,  14), ( 44, 160,  44), (214,  39,  40), (148, 103, 189), (140,  86,  75), (227, 119, 194),
    (188, 189,  34), ( 23, 190, 207), (255, 221,  87), (  0,  78, 137), (166, 216,  84), (178,  34,  34), (128, 128, 128),
    (  0, 110,  70), (255, 182, 193), ( 75,   0, 130), (210, 180, 140), (  0, 255, 170), ( 90,  60,  20),
)
# fmt: on


def colors_for(labels: Sequence[str]) -> tuple[Color, ...]:
    """A color for each label, always the same: black for the background, and all different for up to 255 labels.

    >>> colors_for(["background", "cat"])
    ((0, 0, 0), (31, 119, 180))
    """
    colors: list[Color] = []
    drawn = iter(range(len(labels) + len(_FIRST)))
    for label in labels:
        if label.lower() in BACKGROUND and (0, 0, 0) not in colors:
            colors.append((0, 0, 0))
        else:
            colors.append(_color(next(drawn)))
    return tuple(colors)


def _color(i: int) -> Color:
    if i < len(_FIRST):
        return _FIRST[i]
    hue = i * 0.618033988749895 % 1.0  # the golden ratio keeps neighboring hues far apart
    red, green, blue = colorsys.hls_to_rgb(hue, (0.35, 0.55, 0.72)[i % 3], (0.95, 0.65)[i // 3 % 2])
    return round(red * 255), round(green * 255), round(blue * 255)
