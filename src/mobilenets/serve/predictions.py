"""The work for an encoded image: the record of `mobilenets predict --json`, or the image with the result drawn on it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from operator import methodcaller
from typing import TYPE_CHECKING

import numpy as np

from mobilenets.errors import ImageError, UsageError
from mobilenets.runtime.decoders import decode, shown
from mobilenets.runtime.images.decode import failure, upright_size
from mobilenets.runtime.rows import json_line
from mobilenets.runtime.sources import decoded, load
from mobilenets.serve.refusal import Reason, RefusedError
from mobilenets.serve.work import Answer, Prepared, Work

if TYPE_CHECKING:
    from mobilenets.runtime.decoders import Prediction
    from mobilenets.runtime.engines.base import Outputs
    from mobilenets.runtime.images.placement import Placement
    from mobilenets.runtime.manifest import Manifest
    from mobilenets.serve.model import ServedModel

TOP = 5
"""Default number of labels per image, as in `predict --json`."""

WIDEST = 65_500  # maximum length of a side in JPEG, px
QUALITY = 90


def manifest_for(model: ServedModel, *, threshold: float | None, top: int | None) -> Manifest:
    """The manifest for decoding a request, with its options.

    Raises:
        RefusedError: an option is for another task.
    """
    manifest = model.predictor.manifest
    if top is not None and manifest.task != "classify":
        raise RefusedError("request", f"'top' is for classifiers; the task of '{model.name}' is '{manifest.task}'")
    try:
        return manifest if threshold is None else replace(manifest, head=shown(manifest.head, threshold))
    except UsageError as error:
        raise RefusedError("request", str(error)) from error


def line_work(image: bytes, name: str, manifest: Manifest, *, pixels: int, top: int = TOP) -> Work:
    """Work that answers with the line of `mobilenets predict --json` for an image.

    Args:
        image: the encoded image.
        name: name of its file.
        manifest: manifest for decoding the outputs.
        pixels: maximum number of pixels of an image.
        top: number of labels, for a classifier.
    """
    record = methodcaller("record", *((top,) if manifest.task == "classify" else ()))

    def prepare() -> Prepared:
        batch, place = prepared([image], manifest, pixels=pixels)

        def finish(outputs: Outputs) -> Answer:
            (prediction,) = decode(outputs, manifest, place)
            return Answer((json_line({"file": name, **record(prediction)}) + "\n").encode())

        return Prepared(batch, finish)

    return prepare


def drawn_work(image: bytes, manifest: Manifest, *, pixels: int, media: str) -> Work:
    """Work that answers with the image and the result drawn on it.

    Args:
        image: the encoded image.
        manifest: manifest for decoding the outputs.
        pixels: maximum number of pixels of an image.
        media: "image/jpeg" or "image/png".
    """

    def prepare() -> Prepared:
        batch, place = prepared([image], manifest, pixels=pixels)

        def finish(outputs: Outputs) -> Answer:
            (prediction,) = decode(outputs, manifest, place)
            return _drawn(image, prediction, media)

        return Prepared(batch, finish)

    return prepare


def prepared(images: Sequence[bytes], manifest: Manifest, *, pixels: int) -> tuple[np.ndarray, list[Placement]]:
    """The network's input for encoded images, N C H W, and its placement on each image.

    Raises:
        RefusedError: one is too large, or cannot be decoded.
    """
    loaded = []
    for i, image in enumerate(images):
        where = "" if len(images) == 1 else f"image {i}: "
        try:
            width, height = upright_size(image)
            if width * height > pixels:
                raise RefusedError("pixels", f"{where}the image has {width:,} x {height:,} px; at most {pixels:,} are accepted")
            loaded.append(load(image, manifest.input))
        except ImageError as error:
            reason: Reason = "pixels" if failure(error) == "bomb" else "image"
            raise RefusedError(reason, "; ".join(filter(None, (f"{where}{error}", error.hint)))) from error
    arrays = [array for array, _ in loaded]
    batch = arrays[0][np.newaxis] if len(arrays) == 1 else np.stack(arrays)  # a single image is not copied
    return batch, [place for _, place in loaded]


def _drawn(image: bytes, prediction: Prediction, media: str) -> Answer:
    picture = prediction.draw(decoded(image, channels=3))
    kind = "image/png" if max(picture.size) > WIDEST else media
    buffer = io.BytesIO()
    if kind == "image/png":
        picture.save(buffer, "PNG", compress_level=3)
    else:
        picture.save(buffer, "JPEG", quality=QUALITY)
    return Answer(buffer.getvalue(), kind)
