"""Limits on the size and depth of a dataset's description: far above any real one, but low enough to protect the machine."""

from __future__ import annotations

JSON_BYTES = 4 << 30
"""The annotations of COCO's training images are 0.45 GB, those of LVIS 1.1 GB."""

TEXT_BYTES = 1 << 30
"""A list of ten million images is about 0.8 GB."""

XML_BYTES = 512 << 20
"""One file per image is a few kB; CVAT writes a whole task into one."""

YAML_BYTES = 1 << 20
"""A data.yaml with the 21,000 classes of ImageNet is 0.5 MB."""

YAML_VALUES = 200_000
"""Most values in a YAML file; values repeated by aliases count each time."""

DEPTH = 64
"""Most levels of nested lists and mappings; real descriptions have about six."""

NAME_LENGTH = 500
"""Most characters in a class name."""

COORDINATE = 1e9
"""Largest absolute value of a number in an annotation, such as a coordinate in px."""

DIGITS = 18
"""Most digits of a whole number in a text file."""

PIXELS = 1 << 29
"""Most pixels of a mask that is drawn from polygons or run lengths: 512 MB."""
