"""`Segmentation`: what a segmenter says of one image, at the image's own size, and how it follows from the outputs."""

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
"""Labels in a summary."""

MOST = 255
"""Labels that a mask of 8 bits can hold beside the value that counts nowhere."""

_AT_ONCE = 1 << 22  # values that the confidence takes in memory at once


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Segmentation:
    """The class of every pixel of an image.

    Args:
        labels: of the model.
        colors: red, green and blue of each label.
        classes: index of each pixel's label, H W, of the upright image.
        logits: of the network's own coarse map, C h w; no values where none were kept.
        row_axis, column_axis: where the pixels lie on that map; None if no logits were kept.
    """

    labels: tuple[str, ...]
    colors: tuple[Color, ...]
    classes: NDArray[np.uint8]
    logits: NDArray[np.float32]
    row_axis: Axis | None = None
    column_axis: Axis | None = None

    @property
    def width(self) -> int:
        """Of the image, px."""
        return int(self.classes.shape[1])

    @property
    def height(self) -> int:
        """Of the image, px."""
        return int(self.classes.shape[0])

    @property
    def areas(self) -> NDArray[np.int64]:
        """Pixels of each label."""
        counts = np.zeros(256, np.int64)
        flat = self.classes.ravel()
        for first in range(0, len(flat), _AT_ONCE):  # counting takes eight bytes a pixel
            counts += np.bincount(flat[first : first + _AT_ONCE], minlength=256)
        return counts[: len(self.labels)]

    def present(self) -> list[tuple[str, float]]:
        """The labels that occur, each with its share of the image, 0 to 1, the largest first."""
        areas = self.areas
        order = np.argsort(-areas, kind="stable")
        return [(self.labels[i], float(areas[i] / self.classes.size)) for i in order if areas[i]]

    def rows(self) -> list[Row]:
        """A row for each label that occurs, the largest first: `label`, `pixels`, and `share` of the image, 0 to 1."""
        return [
            {"label": label, "pixels": round(share * self.classes.size), "share": round(share, SCORE_DIGITS)}
            for label, share in self.present()
        ]

    def record(self) -> Record:
        """What JSON holds: the size of the image and the rows; the mask itself is `classes`."""
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
        """A copy of the image in RGB with each class in its color over it.

        Args:
            image: upright, of any size.
        """
        return overlay(image, self.classes, self.colors)

    def __repr__(self) -> str:
        return f"Segmentation({self.width} x {self.height} px: {self.summary()})"

    def confidence(self) -> NDArray[np.float32]:
        """The score of each pixel's label, 0 to 1, H W; computed when asked for.

        Raises:
            UsageError: the logits were not kept, as when the network itself gives classes.
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
        outputs: of an engine: `"logits"`, N C h w; or what a network gives that decodes inside: `"classes"`, N H W, of the
            pixels of its input. Those are only repeated or left out to get to the image's size, logits are enlarged to it.
        manifest: of the network that gave them.
        placements: where each image lies under the network's input.

    Raises:
        CheckpointError: there is neither, or it does not fit the manifest's labels.
    """
    if "classes" in outputs:
        masks = _classes(outputs["classes"], manifest)  # N H W of the input
        return [_looked_up(mask, manifest, placement) for mask, placement in zip(masks, placements, strict=True)]
    pairs = zip(checked(outputs, manifest), placements, strict=True)
    return [segmentation(logits, manifest, *axes(logits, manifest, placement)) for logits, placement in pairs]


def checked(outputs: Mapping[str, NDArray[np.float32]], manifest: Manifest) -> NDArray[np.float32]:
    """The logits among the outputs, N C h w.

    Raises:
        CheckpointError: there are none, or they do not fit the manifest's labels.
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
    """Refuse a network that gives classes of pixels where logits are averaged.

    Args:
        engine: of a segmenter.
        purpose: what averages them, for the message.

    Raises:
        UsageError: it gives none.
    """
    if "logits" not in engine.outputs:
        raise UsageError(
            f"{purpose} need logits, but '{engine.source}' gives {', '.join(engine.outputs)}",
            hint="give the run folder, or the raw export: 'mobilenets export RUN' writes model.onnx",
        )


def segmentation(logits: NDArray[np.float32], manifest: Manifest, rows: Axis, columns: Axis) -> Segmentation:
    """The segmentation of an image whose pixels lie on the logits, C h w, as the two axes say."""
    classes = upsampled_largest(logits, rows, columns)
    return Segmentation(manifest.labels, colors(manifest), classes, logits, rows, columns)


def axes(
    logits: NDArray[np.float32], manifest: Manifest, placement: Placement, shape: tuple[int, int] = (0, 0)
) -> tuple[Axis, Axis]:
    """Where the rows and columns of an image lie on the logits, C h w.

    Args:
        logits: of the network.
        manifest: says which places the logits stand for.
        placement: where the input lies on the image.
        shape: height and width of the network's input, px; the manifest's by default.
    """
    height, width = shape if all(shape) else manifest.input.shape
    corners = align_corners(manifest)
    _, h, w = logits.shape
    rows = axis(placement.height, h, size=height, scale=placement.scale_y, start=placement.top, align_corners=corners)
    columns = axis(placement.width, w, size=width, scale=placement.scale_x, start=placement.left, align_corners=corners)
    return rows, columns


def align_corners(manifest: Manifest) -> bool:
    """Whether the first and last logits lie on the first and last pixels of the input."""
    return _head(manifest).align_corners


def colors(manifest: Manifest) -> tuple[Color, ...]:
    """The color of each label: the model's own, or ones of our choice."""
    own = _head(manifest).colors
    return own if len(own) == len(manifest.labels) else colors_for(manifest.labels)


def _head(manifest: Manifest) -> SegmentationHead:
    if not isinstance(manifest.head, SegmentationHead):
        raise CheckpointError(f"a segmenter cannot have a {type(manifest.head).__name__}")
    return manifest.head


def _classes(classes: NDArray[np.float32], manifest: Manifest) -> NDArray[np.uint8]:
    """Of a network that decodes inside, N H W, when they fit the manifest."""
    if classes.shape[1:] != manifest.input.shape:
        shape = " x ".join(str(length) for length in classes.shape)
        height, width = manifest.input.shape
        raise CheckpointError(f"the network gives classes of shape {shape} but its input is {height} x {width} px")
    if classes.min(initial=0) < 0 or classes.max(initial=0) >= len(manifest.labels):
        raise CheckpointError(f"the network gives a class {classes.max():g} but its manifest has {len(manifest.labels)} labels")
    return np.asarray(classes, np.uint8)


def _looked_up(classes: NDArray[np.uint8], manifest: Manifest, placement: Placement) -> Segmentation:
    """The segmentation of a network that gives classes, H W: each pixel takes that of the input's nearest pixel."""
    height, width = classes.shape
    rows = axis(placement.height, height, size=height, scale=placement.scale_y, start=placement.top)
    columns = axis(placement.width, width, size=width, scale=placement.scale_x, start=placement.left)
    y, x = (np.minimum(side.low + (side.share >= 0.5), side.places - 1) for side in (rows, columns))
    nearest = classes[y][:, x]  # H W of the image
    return Segmentation(manifest.labels, colors(manifest), nearest, np.empty((0, 0, 0), np.float32))
