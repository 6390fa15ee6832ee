"""Checkpoints: a folder with `model.safetensors` (weights) and `model.json` (everything else). No code runs on load.

A folder is written beside its place, flushed to disk and renamed into it, so a reader finds the old checkpoint or the new one,
never a part of either, whenever the program is killed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as pack_tensors
from torch import Tensor

from mobilenets import files
from mobilenets.errors import CheckpointError, SpecError
from mobilenets.files import settled as settled
from mobilenets.model import Model, create
from mobilenets.specs import codec
from mobilenets.specs.codec import to_data
from mobilenets.specs.model import ModelSpec

FORMAT = 1
WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"

_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl")
_FOREIGN = (".tflite", ".h5", ".hdf5", ".keras", ".safetensors")
_PARTS = (".safetensors", ".json")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint folder holds.

    Args:
        spec: the network, its labels and its input contract.
        weights: the model's state dict, on the CPU.
        metrics: measured when it was saved, by name.
        recipe: the recipe it was trained with, as JSON holds it; empty for converted weights.
    """

    spec: ModelSpec
    weights: Mapping[str, Tensor]
    metrics: Mapping[str, float]
    recipe: Mapping[str, object]


def save(
    model: Model,
    folder: str | Path,
    *,
    metrics: Mapping[str, float] = {},
    recipe: Mapping[str, object] = {},
) -> None:
    """Write the checkpoint `folder`, in place of the checkpoint that is there.

    Raises:
        CheckpointError: `folder` holds other things than a checkpoint, or the disk is full or not writable.
    """
    with replacing(Path(folder)) as new:
        write(model, new, metrics=metrics, recipe=recipe)


def write(model: Model, folder: Path, *, metrics: Mapping[str, float] = {}, recipe: Mapping[str, object] = {}) -> None:
    """Write the two files of a checkpoint into `folder`, which exists; for use inside `replacing`, with further files."""
    weights = pack_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()})
    description = {
        "format": FORMAT,
        "version": importlib.metadata.version("mobilenets"),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "spec": to_data(model.spec),
        "metrics": {name: float(value) if math.isfinite(value) else None for name, value in metrics.items()},
        "recipe": dict(recipe),
    }
    (folder / WEIGHTS).write_bytes(weights)
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def load(path: str | Path) -> Model:
    """The model of a checkpoint folder, or of a run folder's best checkpoint, in eval mode.

    Raises:
        CheckpointError: nothing there, damaged, from a newer version, or no checkpoint of ours.
    """
    checkpoint = read(path)
    model = create(checkpoint.spec)
    expected, found = model.state_dict(), checkpoint.weights
    missing, surplus = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or surplus:
        said = [f"lacks {_some(missing)}"] if missing else []
        said += [f"has {_some(surplus)} too many"] if surplus else []
        raise CheckpointError(f"'{path}' does not fit the network it describes: it {' and '.join(said)}")
    for name, tensor in expected.items():
        if tensor.shape != found[name].shape:
            raise CheckpointError(
                f"'{path}' does not fit the network it describes: "
                f"'{name}' has shape {list(found[name].shape)} where the network has {list(tensor.shape)}"
            )
    model.load_state_dict(dict(found))
    return model.eval()


def read(path: str | Path) -> Checkpoint:
    """Everything that a checkpoint folder holds, or a run folder's best checkpoint.

    Raises:
        CheckpointError: nothing there, damaged, from a newer version, or no checkpoint of ours.
    """
    folder = find(path)
    data = _description(folder / DESCRIPTION)
    try:
        weights = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read '{folder / WEIGHTS}': {error.strerror or error}") from error
    try:
        if hashlib.sha256(weights).hexdigest() != data["weights_sha256"]:
            raise CheckpointError(f"'{folder / WEIGHTS}' is damaged or belongs to another checkpoint: its checksum differs")
        return Checkpoint(
            spec=codec.from_json(json.dumps(data["spec"])),
            weights=parse_tensors(weights),
            metrics={name: math.nan if value is None else float(value) for name, value in data["metrics"].items()},
            recipe=data["recipe"],
        )
    except (KeyError, TypeError, ValueError, AttributeError, SpecError, SafetensorError) as error:
        raise CheckpointError(f"'{folder}' is damaged: {error}") from error


def find(path: str | Path) -> Path:
    """The checkpoint folder that `path` means: itself, a run folder's `best`, or the folder of a checkpoint's file.

    Raises:
        CheckpointError: there is none; the hint says what to do with what was found instead.
    """
    path = Path(path)
    if path.name in (WEIGHTS, DESCRIPTION) and (path.parent / DESCRIPTION).is_file():
        return path.parent
    if path.is_file():
        raise _not_a_checkpoint(path)
    for folder in (path, path / "best"):
        if (settled(folder) / DESCRIPTION).is_file():
            return settled(folder)
    if (settled(path / "last") / DESCRIPTION).is_file():
        raise CheckpointError(
            f"'{path}' has no best checkpoint yet, its training stopped before the first validation",
            hint=f"use the last one: {path / 'last'}",
        )
    if not path.exists():
        raise CheckpointError(f"'{path}' does not exist", hint="give a run folder or a checkpoint folder")
    if (path / WEIGHTS).is_file():
        raise CheckpointError(f"'{path}' has '{WEIGHTS}' but no '{DESCRIPTION}', which describes the network")
    raise CheckpointError(f"'{path}' holds no checkpoint: no '{DESCRIPTION}' in it, nor in 'best'")


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """An empty folder to fill; it takes the place of `folder` when the block ends, and is thrown away when the block raises.

    Raises:
        CheckpointError: `folder` holds other things than a checkpoint, or the disk is full or not writable.
    """
    try:
        _refuse_to_replace(folder)
        with files.replaced_folder(folder) as new:
            yield new
    except OSError as error:
        raise CheckpointError(f"cannot write '{folder}': {error.strerror or error}") from error


def _refuse_to_replace(folder: Path) -> None:
    if folder.is_file():
        raise CheckpointError(f"'{folder}' is a file, and a checkpoint is a folder", hint="choose another name")
    if not folder.is_dir():
        return
    foreign = sorted(one.name for one in folder.iterdir() if one.is_dir() or one.suffix not in _PARTS)
    if foreign:
        raise CheckpointError(f"'{folder}' holds {_some(foreign)}, which this would delete", hint="choose another folder")


def _description(path: Path) -> dict[str, Any]:  # Any: JSON
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"cannot read '{path}': {error.strerror or error}") from error
    except ValueError as error:
        raise CheckpointError(f"'{path}' is damaged: {error}") from error
    number = data.get("format") if isinstance(data, dict) else None
    if not isinstance(number, int) or "spec" not in data:
        raise CheckpointError(f"'{path}' was not written by mobilenets: it has no format number and network")
    if number > FORMAT:
        raise CheckpointError(
            f"'{path}' has format {number}, and this version reads up to {FORMAT}",
            hint="pip install --upgrade mobilenets",
        )
    return dict(data)


def _not_a_checkpoint(path: Path) -> CheckpointError:
    suffix = path.suffix.lower()
    if suffix in _PICKLES:
        return CheckpointError(
            f"'{path}' is a pickle, which can run code when it is loaded, so it is refused",
            hint=f"if you trust where it comes from: mobilenets convert {path}",
        )
    if suffix in _FOREIGN:
        return CheckpointError(f"'{path}' is a weights file, not a checkpoint folder", hint=f"mobilenets convert {path}")
    if suffix == ".onnx":
        return CheckpointError(f"'{path}' is an exported network, not a checkpoint", hint=f"mobilenets predict {path} IMAGE")
    return CheckpointError(f"'{path}' is a file, and a checkpoint is a folder with '{WEIGHTS}' and '{DESCRIPTION}'")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"'{name}'" for name in names[:3]) + more
