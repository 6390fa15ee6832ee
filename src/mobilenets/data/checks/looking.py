"""Examines one image: whether it can be decoded, its size, and the hashes for comparing it with others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mobilenets.data.checks import duplicates
from mobilenets.data.samples import Sample
from mobilenets.errors import ImageError
from mobilenets.runtime.images.decode import Header, Reason, decode_image, failure, read_header


@dataclass(frozen=True, slots=True)
class Look:
    """The result of looking at one image.

    Args:
        reason: why the image cannot be decoded, or None.
        problem: the same in words.
        header: format and size, if the header can be read.
        suffix_format: the format of the file's extension, if the file has another one; else "".
        digest: a digest of the file's bytes; empty after a glance.
        flat: whether it shows a single tone.
        dark: whether no pixel is brighter than `duplicates.DARK`.
        hash, thumbnail: see `duplicates`; None after a glance, and for a broken or flat image.
    """

    reason: Reason | None = None
    problem: str = ""
    header: Header | None = None
    suffix_format: str = ""
    digest: bytes = b""
    flat: bool = False
    dark: bool = False
    hash: int | None = None
    thumbnail: NDArray[np.float16] | None = None


def glance(sample: Sample) -> Look:
    """Look only at the header. Images on web servers are not requested."""
    if sample.url:
        return Look()
    try:
        header = read_header(sample.path if sample.member is None else _bytes(sample))
    except OSError as error:
        return _broken(_unreadable(error), sample)
    except ImageError as error:
        return _broken(error, sample)
    return Look(header=header, suffix_format=_claimed(sample, header.format))


def look(sample: Sample) -> Look:
    """Decode the whole image."""
    header, digest = None, b""
    try:
        data = _bytes(sample)
        digest = hashlib.blake2b(data, digest_size=16).digest()
        header = read_header(data)
        grey = duplicates.small(decode_image(data, channels=1, at_least=2 * duplicates.SIDE))
    except ImageError as error:
        return _broken(error, sample, header, digest)
    claimed, dark = _claimed(sample, header.format), duplicates.is_dark(grey)
    if duplicates.is_flat(grey):
        return Look(header=header, suffix_format=claimed, digest=digest, flat=True, dark=dark)
    return Look(
        header=header,
        suffix_format=claimed,
        digest=digest,
        dark=dark,
        hash=duplicates.perceptual_hash(grey),
        thumbnail=duplicates.thumbnail(grey),
    )


def is_image(sample: Sample) -> bool:
    """Whether the file has the header of an image, whatever its name is."""
    return glance(sample).header is not None


def _bytes(sample: Sample) -> bytes:
    try:
        data = sample.read()
    except OSError as error:
        raise _unreadable(error) from error
    if sample.member is not None and len(data) < sample.member[1]:
        raise ImageError("is truncated: the tar file ends before the image does") from EOFError()
    return data


def _unreadable(error: OSError) -> ImageError:
    missing = isinstance(error, FileNotFoundError | NotADirectoryError)
    problem = ImageError("does not exist" if missing else f"cannot be read: {error.strerror or error}")
    problem.__cause__ = error
    return problem


def _broken(error: ImageError, sample: Sample, header: Header | None = None, digest: bytes = b"") -> Look:
    words = str(error).removeprefix("the image ").removeprefix(f"'{sample.path}' ")
    return Look(failure(error), words, header, digest=digest)


def _claimed(sample: Sample, actual: str) -> str:
    """The format of the file's extension, if it differs from the actual format; else ""."""
    suffix = PurePath(sample.name or sample.path.name).suffix.lower()
    claimed = Image.registered_extensions().get(suffix, "")
    same = claimed == actual or {claimed, actual} in ({"JPEG", "MPO"}, {"BMP", "DIB"})
    return "" if same else claimed
