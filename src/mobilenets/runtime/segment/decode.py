"""`Segmentation`: a segmenter's prediction for one image at the image's own size, and its decoding from the outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.errors import CheckpointError, UsageError
from mobilenets.runtime.engines.base import Engine
from mobilenets.runtime.images.placement import Placement
from mobilenets.runtime.manifest import Manifest
from mobilenets.runtime.rows import SCORE_DIGITS, Record, Row, json_line
from mobilenets.runtime.segment.draw import overlay
from mobilenets.runtime.segment.palette import Color, colors_for
from mobilenets.runtime.segment.upsample import Axis, axis, upsampled, upsampled_largest
from mobilenets.specs.heads import SegmentationHead

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

SHOWN = 4
"""Number of labels in a summary."""

MOST = 255
"""Number of labels that an 8-bit mask can hold besides the ignored value."""

_AT_ONCE = 1 << 22  # bounds the memory of the confidence: values that are computed at once


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Segmentation:
    """The class of every pixel of an image.

    Args:
        labels: the model's class names.
        colors: red, green and blue of each label.
        classes: index of each pixel's label, H W, on the upright image.
        logits: the network's own coarse logits, C h w; empty if they were not kept.
        row_axis, column_axis: where the pixels lie on the logits; None if no logits were kept.
    """

    labels: tuple[str, ...]
    colors: tuple[Color, ...]
    classes: NDArray[np.uint8]
    logits: NDArray[np.float32]
    row_axis: Axis | None = None
    column_axis: Axis | None = None

    @property
    def width(self) -> int:
        """Width of the image, px."""
        return int(self.classes.shape[1])

    @property
    def height(self) -> int:
        """Height of the image, px."""
        return int(self.classes.shape[0])

    @property
    def areas(self) -> NDArray[np.int64]:
        """Number of pixels of each label."""
        counts = np.zeros(256, np.int64)
        flat = self.classes.ravel()
        for first in range(0, len(flat), _AT_ONCE):  # counting takes eight bytes per pixel
            counts += np.bincount(flat[first : first + _AT_ONCE], minlength=256)
        return counts[: len(self.labels)]

    def present(self) -> list[tuple[str, float]]:
        """The labels in the image, each with its share of the image, 0 to 1, largest first."""
        areas = self.areas
        order = np.argsort(-areas, kind="stable")
        return [(self.labels[i], float(areas[i] / self.classes.size)) for i in order if areas[i]]

    def rows(self) -> list[Row]:
        """A row for each label in the image, largest first: `label`, `pixels`, and `share` of the image, 0 to 1."""
        return [
            {"label": label, "pixels": round(share * self.classes.size), "share": round(share, SCORE_DIGITS)}
            for label, share in self.present()
        ]

    def record(self) -> Record:
        """The record for JSON: the size of the image, and the rows. The mask itself is `classes`."""
        return {"width": self.width, "height": self.height, "areas": self.rows()}

    def to_json(self) -> str:
        """The record as one line of JSON."""
        return json_line(self.record())

    def summary(self) -> str:
        """The labels that cover most of the image, for people."""
        present = self.present()
        words = [f"{label} {share:.0%}" for label, share in present[:SHOWN]]
        return ", ".join(words) + (f", {len(present) - SHOWN} more" if len(present) > SHOWN else "")

    def draw(self, image: Image.Image) -> Image.Image:
        """A copy of the image in RGB, overlaid with the color of each class.

        Args:
            image: upright, of any size.
        """
        return overlay(image, self.classes, self.colors)

    def __repr__(self) -> str:
        return f"Segmentation({self.width} x {self.height} px: {self.summary()})"

    def confidence(self) -> NDArray[np.float32]:
        """The score of each pixel's label, 0 to 1, H W; computed on each call.

        Raises:
            UsageError: the logits were not kept, for instance because the network itself returns classes.
        """
        if self.row_axis is None or self.column_axis is None:
            raise UsageError("the scores of this segmentation were not kept")
        height, width = self.classes.shape
        scores = np.empty((height, width), np.float32)
        step = max(1, _AT_ONCE // (width * len(self.labels)))
        for first in range(0, height, step):
            values = upsampled(self.logits, self.row_axis.part(first, first + step), self.column_axis)
            values -= values.max(axis=0)
            scores[first : first + step] = 1 / np.exp(values, out=values).sum(axis=0)
        return scores


def decode_segmentations(
    outputs: Mapping[str, NDArray[np.float32]], manifest: Manifest, placements: Sequence[Placement]
) -> list[Segmentation]:
    """One segmentation per image of the batch.

    Args:
        outputs: an engine's outputs: `"logits"`, N C h w, which are interpolated to the image's size; or, from a network with a
            built-in decoder, `"classes"`, N H W of its input, which are resized by nearest neighbor.
        manifest: the network's manifest.
        placements: where the network's input lies on each image.

    Raises:
        CheckpointError: there is neither output, or it does not fit the manifest's labels.
    """
    if "classes" in outputs:
        masks = _classes(outputs["classes"], manifest)  # N H W of the input
        return [_looked_up(mask, manifest, placement) for mask, placement in zip(masks, placements, strict=True)]
    pairs = zip(checked(outputs, manifest), placements, strict=True)
    return [segmentation(logits, manifest, *axes(logits, manifest, placement)) for logits, placement in pairs]


def checked(outputs: Mapping[str, NDArray[np.float32]], manifest: Manifest) -> NDArray[np.float32]:
    """The logits among the outputs, N C h w, checked.

    Raises:
        CheckpointError: there are no logits, or they do not fit the manifest's labels.
    """
    if "logits" not in outputs:
        raise CheckpointError(f"the network gives {', '.join(outputs) or 'nothing'}, not 'logits'", hint="export it again")
    logits = outputs["logits"]
    if logits.ndim != 4 or logits.shape[1] != len(manifest.labels):
        shape = " x ".join(str(length) for length in logits.shape)
        raise CheckpointError(f"the network gives logits of shape {shape} but its manifest has {len(manifest.labels)} labels")
    if logits.shape[1] > MOST:
        raise CheckpointError(f"the network has {logits.shape[1]} labels; a mask holds {MOST}")
    return np.asarray(logits, np.float32)


def require_logits(engine: Engine, purpose: str) -> None:
    """Raise if the network returns classes, where logits are needed for averaging.

    Args:
        engine: a segmenter's engine.
        purpose: what averages the logits, for the message.

    Raises:
        UsageError: the network returns no logits.
    """
    if "logits" not in engine.outputs:
        raise UsageError(
            f"{purpose} need logits, but '{engine.source}' gives {', '.join(engine.outputs)}",
            hint="give the run folder, or the raw export: 'mobilenets export RUN' writes model.onnx",
        )


def segmentation(logits: NDArray[np.float32], manifest: Manifest, rows: Axis, columns: Axis) -> Segmentation:
    """The segmentation of an image from its logits, C h w; the two axes say where its pixels lie on them."""
    classes = upsampled_largest(logits, rows, columns)
    return Segmentation(manifest.labels, colors(manifest), classes, logits, rows, columns)


def axes(
    logits: NDArray[np.float32], manifest: Manifest, placement: Placement, shape: tuple[int, int] = (0, 0)
) -> tuple[Axis, Axis]:
    """Where the rows and columns of an image lie on the logits, C h w.

    Args:
        logits: the network's logits.
        manifest: says whether the corners of logits and input are aligned.
        placement: where the input lies on the image.
        shape: height and width of the network's input, px; those of the manifest by default.
    """
    height, width = shape if all(shape) else manifest.input.shape
    corners = align_corners(manifest)
    _, h, w = logits.shape
    rows = axis(placement.height, h, size=height, scale=placement.scale_y, start=placement.top, align_corners=corners)
    columns = axis(placement.width, w, size=width, scale=placement.scale_x, start=placement.left, align_corners=corners)
    return rows, columns


def align_corners(manifest: Manifest) -> bool:
    """Whether the first and last logits are aligned with the first and last pixels of the input."""
    return _head(manifest).align_corners


def colors(manifest: Manifest) -> tuple[Color, ...]:
    """The color of each label: the model's own, or default colors."""
    own = _head(manifest).colors
    return own if len(own) == len(manifest.labels) else colors_for(manifest.labels)


def _head(manifest: Manifest) -> SegmentationHead:
    if not isinstance(manifest.head, SegmentationHead):
        raise CheckpointError(f"a segmenter cannot have a {type(manifest.head).__name__}")
    return manifest.head


def _classes(classes: NDArray[np.float32], manifest: Manifest) -> NDArray[np.uint8]:
    """The classes from a network with a built-in decoder, N H W, checked against the manifest."""
    if classes.shape[1:] != manifest.input.shape:
        shape = " x ".join(str(length) for length in classes.shape)
        height, width = manifest.input.shape
        raise CheckpointError(f"the network gives classes of shape {shape} but its input is {height} x {width} px")
    if classes.min(initial=0) < 0 or classes.max(initial=0) >= len(manifest.labels):
        raise CheckpointError(f"the network gives a class {classes.max():g} but its manifest has {len(manifest.labels)} labels")
    return np.asarray(classes, np.uint8)


def _looked_up(classes: NDArray[np.uint8], manifest: Manifest, placement: Placement) -> Segmentation:
    """The segmentation from a network's classes, H W: each pixel of the image takes the class of the nearest input pixel."""
    height, width = classes.shape
    rows = axis(placement.height, height, size=height, scale=placement.scale_y, start=placement.top)
    columns = axis(placement.width, width, size=width, scale=placement.scale_x, start=placement.left)
    y, x = (np.minimum(side.low + (side.share >= 0.5), side.places - 1) for side in (rows, columns))
    nearest = classes[y][:, x]  # H W of the image
    return Segmentation(manifest.labels, colors(manifest), nearest, np.empty((0, 0, 0), np.float32))
