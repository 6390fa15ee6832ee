"""`ModelFiles`: an exported model, stored beside the results so that workers on other machines find it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from mobilenets.bulk import stores
from mobilenets.errors import CheckpointError
from mobilenets.runtime.engines.table import ENGINES
from mobilenets.runtime.predictor import Predictor

FOLDER = "model"
"""Name of the model's folder inside the folder of the results."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """An exported model.

    Args:
        main: name of the file for `Predictor.open`.
        others: names of the other files that belong to the model.
        digest: SHA-256 of all of them.
    """

    main: str
    others: tuple[str, ...]
    digest: str


def files_of(predictor: Predictor) -> tuple[ModelFiles, dict[str, bytes]]:
    """The file that a predictor runs and the files of the same stem that are not another model, and their content by name.

    Raises:
        CheckpointError: the model is a folder, as with Core ML.
    """
    main = Path(predictor.engine.source)
    if not main.is_file():
        raise CheckpointError(
            f"'{main}' is not a single file, so it cannot be sent to workers", hint="mobilenets export RUN --to onnx"
        )
    others = {ending for ending in ENGINES if ending != main.suffix.lower()}
    beside = [file for file in main.parent.iterdir() if file.is_file() and file.name.split(".")[0] == main.name.split(".")[0]]
    contents = {file.name: file.read_bytes() for file in sorted(beside) if file.suffix.lower() not in others}
    digest = hashlib.sha256()
    for name, data in contents.items():
        digest.update(f"{name} {len(data)}\n".encode())
        digest.update(data)
    return ModelFiles(main.name, tuple(name for name in contents if name != main.name), digest.hexdigest()), contents


def fetched(model: ModelFiles, out: str, folder: Path) -> Path:
    """Copy a model from the results' folder into a folder on this machine, and return the path of its main file.

    Raises:
        OSError: it cannot be read.
    """
    for name in (model.main, *model.others):
        (folder / name).write_bytes(stores.read(stores.join(out, f"{FOLDER}/{name}")))
    return folder / model.main
