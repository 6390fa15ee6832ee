"""What `export` compares networks on: images of a folder, a labeled dataset, or the run's own validation split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mobilenets.cli.images import image_files
from mobilenets.cli.measuring import trained_on_data
from mobilenets.cli.output import note
from mobilenets.cli.reading import alike
from mobilenets.errors import DataError, ImageError, MobileNetsError
from mobilenets.evaluation.part import part_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mobilenets.exporters.compared import Labeled
    from mobilenets.runtime.manifest import Manifest
    from mobilenets.specs.model import ModelSpec, Task


MOST = 32
"""Images to compare on, unless the user says otherwise."""

T = TypeVar("T")


def spread(items: Sequence[T], most: int | None) -> list[T]:
    """Items at even distances: samples and files are often sorted by class, and the first ones would be of one class.

    Args:
        items: to choose from.
        most: how many; None for all.

    >>> spread("aaabbb", 2), spread("ab", 5)
    (['a', 'b'], ['a', 'b'])
    """
    count = len(items) if most is None else min(most, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def asked_for(
    images: str, data: str, most: int | None, model: Manifest | ModelSpec, *, run: Path | None
) -> tuple[list[bytes | Path], Labeled | None]:
    """The images to compare on and the labeled ones to measure on: those that were asked for, else those of the run.

    Args:
        images: a file, a folder or a glob; "" for none.
        data: a labeled dataset; "" for none.
        most: how many to take of each; None for the usual number.
        model: that is exported.
        run: its run; None if it has none.

    Raises:
        DataError: what was asked for cannot be read or is empty.
    """
    if run is not None and not images and not data:
        return of_run(run, most or MOST, model.task)
    return readable(images, most or MOST) if images else [], labeled_of(data, most, model) if data else None


def readable(images: str, most: int) -> list[bytes | Path]:
    """Images of a folder or a glob that can be decoded, from all over it, or the one image.

    Raises:
        DataError: there is none.
    """
    from mobilenets.runtime.images.decode import decode_image

    files = image_files(images, skipped=lambda text: note(f"skipped {text}"))
    if not files and Path(images).is_file():
        files = [Path(images)]  # whatever it is called, its content decides
    elif not files:
        there = Path(images).exists()
        raise DataError(f"'{images}' has no image that can be read" if there else f"there is no file or folder '{images}'")
    readable_files: list[bytes | Path] = []
    for file in dict.fromkeys([*spread(files, most), *files]):  # others take the places of those that cannot be read
        if len(readable_files) == most:
            break
        try:
            decode_image(file)
        except (ImageError, OSError) as error:
            note(f"skipped {file}: {error}")
        else:
            readable_files.append(file)
    if not readable_files:
        raise DataError(f"'{images}' has no image that can be read")
    return readable_files


def labeled_of(data: str, most: int | None, model: Manifest | ModelSpec) -> Labeled:
    """Samples from all over a dataset's test split, or of all of it where there are no splits.

    Raises:
        DataError: the dataset cannot be read or is empty.
    """
    from mobilenets.data.open import open_dataset
    from mobilenets.exporters.compared import Labeled

    dataset = alike(open_dataset(data, task=model.task), model.labels)
    _, samples = part_of(dataset, None)
    return Labeled(tuple(spread(samples, most)), dataset.labels)


def of_run(run: Path, most: int, task: Task) -> tuple[list[bytes | Path], Labeled | None]:
    """Images of the run's validation split, and the same with their labels; none where they are not there any more."""
    from mobilenets.exporters.compared import Labeled
    from mobilenets.runtime.images.decode import decode_image
    from mobilenets.training import record

    if not (run / record.RUN).is_file() or not (run / record.SPLITS_FILE).is_file():
        return [], None
    try:
        dataset = trained_on_data(run / record.SPLITS_FILE, record.read_run(run)["data"], task)
        samples = tuple(spread(dataset.split("val") or dataset.split("train"), most))
        images: list[bytes | Path] = []
        for sample in samples:
            image = sample.read()
            decode_image(image)
            images.append(image)
    except (MobileNetsError, OSError) as error:
        note(f"note: the run's own images cannot be read, so the networks are compared on synthetic ones: {error}")
        return [], None
    return images, Labeled(samples, dataset.labels)
