"""`spelled_as`: rename a dataset's labels to the model's spelling if they differ only in case, spaces, `-` or `_`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from mobilenets.data.samples import Dataset

DIFFER = "differ only in case, spaces, '-' or '_'"


def twins(labels: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """The model's label for each label of the data that only differs from it in case, spaces, `-` or `_`.

    A label that matches two of the model's, or two of the data's, is left out.

    >>> twins(("Traffic Light", "car", "Bus"), ("traffic_light", "car", "bus", "BUS"))
    {'Traffic Light': 'traffic_light'}
    """
    counts = Counter(_plain(label) for label in known)
    of_model = {_plain(label): label for label in known if counts[_plain(label)] == 1}
    in_data = Counter(_plain(label) for label in labels)
    unknown = [label for label in labels if label not in known and in_data[_plain(label)] == 1]
    return {label: of_model[_plain(label)] for label in unknown if _plain(label) in of_model}


def spelled_as(dataset: Dataset, known: Sequence[str]) -> Dataset:
    """The dataset with the labels of `twins` renamed, and a note that says which."""
    renamed = twins(dataset.labels, known)
    if not renamed:
        return dataset
    pairs = ", ".join(f"'{label}' is '{name}'" for label, name in renamed.items())
    note = f"labels of '{dataset.name}' were taken for the model's, from which they {DIFFER}: {pairs}"
    labels = tuple(renamed.get(label, label) for label in dataset.labels)
    return replace(dataset, labels=labels, notes=(*dataset.notes, note))


def _plain(label: str) -> str:
    return re.sub(r"[\s_-]+", "", label.casefold())
