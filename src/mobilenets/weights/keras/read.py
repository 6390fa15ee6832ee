"""Keras files: `.keras`, `.h5` and `.weights.h5`, read with only h5py. No code in a configuration is run."""

from __future__ import annotations

from pathlib import Path

from mobilenets.weights.assemble import Network
from mobilenets.weights.graphs import classify
from mobilenets.weights.keras import ordered
from mobilenets.weights.keras.files import opened
from mobilenets.weights.keras.translate import graph_of
from mobilenets.weights.told import NOTHING_TOLD, Told


def read(path: Path, *, told: Told = NOTHING_TOLD, labels: int = 0) -> Network:
    """The network in a Keras file.

    Args:
        path: the file.
        told: the user's statements about the file.
        labels: number of class names that the user gave.

    Raises:
        WeightsError: it is damaged, or not a MobileNet that can be converted.
        MissingExtraError: h5py is not installed.
    """
    with opened(path) as stored:
        if stored.config:
            return classify.network_of(graph_of(stored, told), told=told, labels=labels)
        return ordered.network_of(stored, told, labels)
