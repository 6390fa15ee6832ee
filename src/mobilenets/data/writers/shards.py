"""Writes tar shards as described in `readers.packed`: unchanged image files, with labels, boxes or masks beside them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from PIL import Image

from mobilenets import files
from mobilenets.data import masks
from mobilenets.data.readers.packed import LABELS_FILE
from mobilenets.data.samples import SPLITS, Dataset, Sample
from mobilenets.data.splits import digest
from mobilenets.data.walk import SUFFIXES
from mobilenets.errors import DataError, ImageError, UsageError
from mobilenets.runtime.images.decode import upright_size
from mobilenets.specs.model import Task

PER_SHARD = 1000
"""Images per shard."""


def write_shards(
    dataset: Dataset,
    folder: Path,
    *,
    per_shard: int = PER_SHARD,
    seed: int = 0,
    advance: Callable[[int], object] = lambda _: None,
) -> list[Path]:
    """Write a dataset as shards `train-000000.tar` ... with `labels.txt`, shuffled by seed so that streams are mixed.

    Args:
        dataset: the dataset to write.
        folder: the folder to write, which must not contain shards yet.
        per_shard: number of images per file.
        seed: seed of the order within a split.
        advance: called with 1 after each image.

    Raises:
        DataError: the folder already contains shards, an image or a mask cannot be read, or a shard cannot be written.
        UsageError: `per_shard` is not positive.
    """
    if per_shard < 1:
        raise UsageError(f"{per_shard} images per shard; at least 1 is needed")
    if folder.is_dir() and any(folder.glob("*.tar")):
        raise DataError(f"'{folder}' already contains shards", hint="choose an empty folder")
    try:
        files.write_text(folder / LABELS_FILE, "".join(f"{label}\n" for label in dataset.labels))
        written = []
        for split in SPLITS:
            samples = sorted(dataset.split(split), key=lambda sample: digest(sample.name, seed))
            for start in range(0, len(samples), per_shard):
                path = folder / f"{split}-{start // per_shard:06d}.tar"
                with files.drafted(path) as draft, tarfile.open(draft, "w", format=tarfile.PAX_FORMAT) as tar:
                    for i, sample in enumerate(samples[start : start + per_shard], start):
                        _add_sample(tar, f"{i:08d}", sample, dataset)
                        advance(1)
                written.append(path)
    except OSError as error:
        raise DataError(f"'{folder}' cannot be written: {error.strerror or error}") from error
    return written


@dataclass(frozen=True, slots=True)
class _Annotation:
    """An image's annotation: additional fields of its JSON, and additional members by extension."""

    about: Mapping[str, object] = field(default_factory=dict)
    members: Mapping[str, bytes] = field(default_factory=dict)


def _add_sample(tar: tarfile.TarFile, key: str, sample: Sample, dataset: Dataset) -> None:
    suffix = Path(sample.name or sample.path.name).suffix.lower()
    try:
        data = sample.read()
        annotation = _ANNOTATIONS[dataset.task](sample, data, dataset)
    except OSError as error:
        raise DataError(f"'{sample.name}' cannot be read: {error.strerror or error}") from error
    except ImageError as error:
        raise DataError(f"'{sample.name}': {error}", hint=error.hint) from error
    about = {**annotation.about, "name": sample.name, "split": sample.split}
    if sample.weight != 1:
        about["weight"] = sample.weight
    if sample.group:
        about["group"] = sample.group
    _add(tar, f"{key}{suffix if suffix in SUFFIXES else '.jpg'}", data)
    for ending, content in annotation.members.items():
        _add(tar, f"{key}{ending}", content)
    _add(tar, f"{key}.json", json.dumps(about).encode())


def _label(sample: Sample, data: bytes, dataset: Dataset) -> _Annotation:
    return _Annotation({"label": dataset.labels[sample.label]}, {".cls": str(sample.label).encode()})


def _boxes(sample: Sample, data: bytes, dataset: Dataset) -> _Annotation:
    boxes = []
    for box in sample.boxes:
        edges = {"x0": box.x0, "y0": box.y0, "x1": box.x1, "y1": box.y1}
        flags = {name: True for name in ("difficult", "crowd") if getattr(box, name)}
        boxes.append({"label": dataset.labels[box.label], **edges, **flags})
    width, height = sample.stated or upright_size(data)
    return _Annotation({"width": width, "height": height, "boxes": boxes})


def _mask(sample: Sample, data: bytes, dataset: Dataset) -> _Annotation:
    if sample.mask is None:
        raise DataError(f"'{sample.name}' has no mask")
    image = Image.fromarray(masks.read(sample.mask))
    if dataset.colors:  # all 256 colors: a PNG with few colors uses few bits, which cannot hold 255
        image.putpalette(bytes(chain(*dataset.colors)).ljust(3 * 256, b"\0"))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=False)
    return _Annotation(members={".mask.png": buffer.getvalue()})


_ANNOTATIONS: Mapping[Task, Callable[[Sample, bytes, Dataset], _Annotation]] = {
    "classify": _label,
    "detect": _boxes,
    "segment": _mask,
}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
