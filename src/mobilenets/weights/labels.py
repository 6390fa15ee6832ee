"""The names of a file's classes: from a label file, from ImageNet, or numbers."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mobilenets.errors import WeightsError

IMAGENET = 1000
# fmt: off
PASCAL_VOC = (  # class 0 is the background
    "background",
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)
# fmt: on


def read_labels(path: Path) -> tuple[str, ...]:
    """The lines of a label file, one class each, in the order of the logits.

    Raises:
        WeightsError: it cannot be read or is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise WeightsError(f"'{path}', the file of labels, cannot be read: {reason}") from error
    labels = tuple(line.strip() for line in lines if line.strip())
    if not labels:
        raise WeightsError(f"'{path}' holds no labels")
    return labels


def labels_for(classes: int, given: Sequence[str]) -> tuple[str, ...]:
    """As many different names as there are classes.

    Args:
        classes: number of classes of the file's classifier, without a background class.
        given: names to use, with or without a first one for the background; if empty, ImageNet's names for 1000 classes if
            torchvision provides them, otherwise `class_0000` and so on.

    Raises:
        WeightsError: there are more or fewer names than classes.
    """
    if not classes:
        return ()
    names = tuple(given) or _imagenet_names(classes)
    if len(names) == classes + 1 and names[0].lower() in ("background", "none", "dummy", "???"):
        names = names[1:]
    if len(names) != classes:
        missing = "; is 'background' missing?" if len(names) == classes - 1 else ""
        raise WeightsError(f"{len(names)} labels for {classes} classes{missing}")
    counts = Counter(names)
    return tuple(name if counts[name] == 1 else f"{name} ({i})" for i, name in enumerate(names))


def _imagenet_names(classes: int) -> tuple[str, ...]:
    if classes == IMAGENET:
        try:
            return tuple(importlib.import_module("torchvision.models._meta")._IMAGENET_CATEGORIES)
        except (ImportError, AttributeError):
            pass  # torchvision lacks this list here; numbers will do
    digits = max(4, len(str(classes - 1)))
    return tuple(f"class_{i:0{digits}}" for i in range(classes))
