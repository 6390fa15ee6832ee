"""Keras files: `.keras`, `.h5` and `.weights.h5`, read with h5py alone. Nothing in a configuration is run."""

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
        told: what the user says of it.
        labels: how many names the user gave for its classes.

    Raises:
        WeightsError: it is damaged, or no MobileNet that can be converted.
        MissingExtraError: h5py is not installed.
    """
    with opened(path) as stored:
        if stored.config:
            return classify.network_of(graph_of(stored, told), told=told, labels=labels)
        return ordered.network_of(stored, told, labels)
