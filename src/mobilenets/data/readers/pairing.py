"""Matches annotation files with images by name, whatever folders they are in.

The image of `train/labels/a.txt` may be `train/labels/a.jpg`, `train/images/a.png` or `images/train/a.jpg`. It has the same
name without the ending; if there are several such images, it is the one whose folders are most similar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mobilenets.data.entries import split_in
from mobilenets.data.faults import Fault
from mobilenets.data.walk import IMAGES, alike, stem_of

MASKS = frozenset((
    "masks", "mask", "labels", "label", "annotations", "annotation", "annot", "annots", "ann", "anns", "segmentation",
    "segmentations", "segmentationclass", "segmentationobject", "gt", "groundtruth", "ground_truth", "ground truth",
    "ground-truth", "targets", "target",
))  # fmt: skip
"""Usual names of a folder of masks or annotations, in lower case."""

NO_CLASSES = (MASKS - {"label", "target", "targets"}) | {"images", "imgs", "img", "jpegimages"}
"""Names of folders that are never classes."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Annotation files matched with images, as paths relative to one folder, with slashes.

    Args:
        image_of: the image of each annotation file that has one.
        strays: annotation files without an image.
        bare: images without an annotation file, in folders where others have one.
        faults: images that share an annotation file.
    """

    image_of: dict[str, str]
    strays: tuple[str, ...]
    bare: tuple[str, ...]
    faults: tuple[Fault, ...]


def pair(annotations: Sequence[str], images: Sequence[str]) -> Pairs:
    """The annotation files with their images."""
    by_stem: dict[str, list[str]] = {}
    for image in images:
        by_stem.setdefault(alike(stem_of(image)), []).append(image)
    image_of: dict[str, str] = {}
    owner: dict[str, str] = {}
    strays, faults = [], []
    shared: set[str] = set()
    for annotation in annotations:
        candidates = by_stem.get(alike(stem_of(annotation)), [])
        near = [(_nearness(annotation, image), image) for image in candidates if _may_match(annotation, image)]
        best = max((nearness for nearness, _ in near), default=None)
        fitting = [image for nearness, image in near if nearness == best]
        free = [image for image in fitting if image not in owner]
        if not free:
            strays.append(annotation)
            continue
        image_of[annotation] = free[0]
        owner[free[0]] = annotation
        for other in free[1:]:
            shared.add(other)
            faults.append(
                Fault("same-name", f"has the same name as '{free[0]}', and both share '{annotation}'; it is left out", other)
            )
    folders = {image.rpartition("/")[0] for image in owner}
    bare = [image for image in images if image.rpartition("/")[0] in folders and image not in owner and image not in shared]
    return Pairs(image_of, tuple(strays), tuple(bare), tuple(faults))


def _may_match(annotation: str, image: str) -> bool:
    """Whether both are in folders of the same split, or at most one of them is in such a folder."""
    of_annotation, of_image = split_in(annotation), split_in(image)
    return of_annotation is None or of_image is None or of_annotation == of_image


def _nearness(annotation: str, image: str) -> tuple[int, int, int]:
    """How similar both folders are, as a sort key; a folder of images counts in favor, a folder of masks against."""
    of_annotation, of_image = (path.lower().split("/")[:-1] for path in (annotation, image))
    same = of_annotation == of_image
    shared = sum(min(of_annotation.count(part), of_image.count(part)) for part in set(of_annotation) - MASKS)
    role = any(part in IMAGES for part in of_image) - (not same and any(part in MASKS for part in of_image))
    return same, shared, role
