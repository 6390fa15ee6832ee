"""ELPV: 2,624 electroluminescence photos of solar cells, from the package `elpv-dataset`."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

from mobilenets.data.entries import Entry, Listing
from mobilenets.errors import DataError, MissingExtraError

LABELS = ("functional", "defective")
"""A cell is defective if its probability of a defect is 0.5 or more."""


def read_elpv() -> Listing:
    """The photos with the labels of Deitsch et al. (2019), stratified by cell type and defect probability; 25% test.

    Raises:
        MissingExtraError: `elpv-dataset` is not installed.
        DataError: the package does not contain its photos.
    """
    package = importlib.util.find_spec("elpv_dataset")
    if package is None or package.origin is None:
        raise MissingExtraError("elpv-dataset", "elpv")
    folder = Path(package.origin).parent / "data"
    try:
        lines = (folder / "labels.csv").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"the package 'elpv-dataset' has no '{folder / 'labels.csv'}'", hint="install it again") from error
    entries = []
    for path, probability, kind in csv.reader((" ".join(line.split()) for line in lines if line.strip()), delimiter=" "):
        label = LABELS[float(probability) >= 0.5]
        entries.append(Entry(folder / path, label, Path(path).name, stratum=f"{kind} {float(probability):.2f}"))
    return Listing(tuple(entries), LABELS, "elpv", val=0.1, test=0.25)
