"""The colors of boxes in a detector's report."""

from __future__ import annotations

from mobilenets.runtime.segment.palette import Color

RIGHT: Color = (29, 158, 96)
WRONG: Color = (226, 54, 40)
MISSED: Color = (255, 176, 0)
OTHER: Color = (192, 64, 222)
"""An object of another class."""
