"""`HEADS`: every head, by its name in files."""

from __future__ import annotations

from mobilenets.specs.deeplab import DeepLabHead
from mobilenets.specs.lraspp import LrasppHead
from mobilenets.specs.model import ClassifierHead, Head
from mobilenets.specs.ssd import SsdHead

SegmentationHead = DeepLabHead | LrasppHead

HEADS: dict[str, type[Head]] = {kind.__name__: kind for kind in (ClassifierHead, SsdHead, DeepLabHead, LrasppHead)}
"""Every head, by its name in files."""
