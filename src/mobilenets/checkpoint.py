"""Checkpoints: a folder with `model.safetensors` (weights) and `model.json` (everything else). No code runs on load.

A folder is written as a draft beside its destination, flushed to disk and renamed. So a reader finds either the old checkpoint
or the new one, never a part of either, whenever the program is killed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as pack_tensors
from torch import Tensor

from mobilenets import files
from mobilenets.deploy import operators as op
from mobilenets.deploy.file import Structure
from mobilenets.documents import decode, encode, parse
from mobilenets.errors import CheckpointError, DocumentError, GraphError, MobileNetsError
from mobilenets.files import settled as settled
from mobilenets.model import Model
from mobilenets.qat.model import QuantizedModel, unlearned
from mobilenets.runtime.engines.open import IS_CPP, holds_cpp, holds_graph
from mobilenets.runtime.manifest import beside
from mobilenets.specs.codec import CHOICES, current, to_data
from mobilenets.specs.model import ModelSpec

FORMAT = 1
WEIGHTS = "model.safetensors"
DESCRIPTION = "model.json"

_LARGEST = 100 * 2**20  # bytes of a description; a million labels take a third of this
_DIVERGED = "the training that made these weights diverged; take an earlier checkpoint, or train with a lower learning rate"
_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl")
_FOREIGN = (".tflite", ".h5", ".hdf5", ".keras", ".safetensors")
_PARTS = (".safetensors", ".json", ".onnx", ".graph")  # the last two are exports, made when the checkpoint was first opened


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The content of a checkpoint folder.

    Args:
        spec: the network, its labels and its input contract.
        weights: the model's state dict, on the CPU.
        metrics: metrics at the time of saving, by name.
        recipe: the recipe that it was trained with, in JSON's types; empty for converted weights.
        int8: the operators of the int8 network that was trained; None for a float network.
    """

    spec: ModelSpec
    weights: Mapping[str, Tensor]
    metrics: Mapping[str, float]
    recipe: Mapping[str, object]
    int8: Structure | None = None


def save(
    model: Model,
    folder: str | Path,
    *,
    metrics: Mapping[str, float] = {},
    recipe: Mapping[str, object] = {},
) -> None:
    """Write the checkpoint `folder`, replacing an existing checkpoint.

    Raises:
        CheckpointError: `folder` is not a checkpoint, the disk is full or not writable, or a weight is NaN.
    """
    with replacing(Path(folder)) as new:
        write(model, new, metrics=metrics, recipe=recipe)


def write(model: Model, folder: Path, *, metrics: Mapping[str, float] = {}, recipe: Mapping[str, object] = {}) -> None:
    """Write the two files of a checkpoint into an existing `folder`; for use inside `replacing`, together with other files.

    Raises:
        CheckpointError: a weight is NaN or infinite.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if broken := not_finite(state):
        raise CheckpointError(f"cannot write a checkpoint: {broken}", hint=_DIVERGED)
    weights = pack_tensors(state)
    int8 = {"int8": encode(model.int8.structure, choices=op.CHOICES)} if isinstance(model, QuantizedModel) else {}
    description = {
        "format": FORMAT,
        "version": importlib.metadata.version("mobilenets"),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "spec": to_data(model.spec),
        "metrics": {name: float(value) if math.isfinite(value) else None for name, value in metrics.items()},
        "recipe": dict(recipe),
        **int8,
    }
    (folder / WEIGHTS).write_bytes(weights)
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def load(path: str | Path) -> Model:
    """The model of a checkpoint folder, or of a run folder's best checkpoint, in eval mode.

    Raises:
        CheckpointError: it is missing, damaged, has weights that are NaN or infinite, is from a newer version, or is not a
            checkpoint of this package.
    """
    checkpoint = read(path)
    model = _unfilled(checkpoint, path)
    expected, given = model.state_dict(), checkpoint.weights
    _check_fit(expected, given, path)
    if broken := not_finite(given):
        raise CheckpointError(f"'{path}' cannot be used: {broken}", hint=_DIVERGED)
    model.load_state_dict({name: given[name].to(tensor.dtype) for name, tensor in expected.items()}, assign=True)
    try:
        model.int8_graph()
    except GraphError as error:
        raise CheckpointError(f"'{path}' is damaged: {error}") from error
    return model.eval()


def read(path: str | Path) -> Checkpoint:
    """The content of a checkpoint folder, or of a run folder's best checkpoint.

    Raises:
        CheckpointError: it is missing, damaged, from a newer version, or not a checkpoint of this package.
    """
    folder = find(path)
    description = _read_description(folder / DESCRIPTION)
    try:
        weights = (folder / WEIGHTS).read_bytes()
        if hashlib.sha256(weights).hexdigest() != description.weights_sha256:
            raise CheckpointError(f"'{folder / WEIGHTS}' is damaged or belongs to another checkpoint: its checksum differs")
        tensors = parse_tensors(weights)
    except OSError as error:
        raise CheckpointError(f"cannot read '{folder / WEIGHTS}': {error.strerror or error}") from error
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"'{folder / WEIGHTS}' is damaged: {error}") from error
    return Checkpoint(
        spec=description.spec,
        weights={name: tensor.clone() for name, tensor in tensors.items()},  # the originals share the file's bytes
        metrics={name: math.nan if value is None else value for name, value in description.metrics.items()},
        recipe=description.recipe,
        int8=description.int8,
    )


def not_finite(tensors: Mapping[str, Tensor]) -> str:
    """A description of the first tensor with NaN or infinity; "" if all numbers are finite.

    >>> not_finite({"head.bias": torch.tensor([1.0, float("nan"), float("inf")])})
    "'head.bias' holds 2 values that are NaN or infinite"
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            count = int((~torch.isfinite(tensor)).sum())
            return f"'{name}' holds {count} value{'s that are' if count > 1 else ' that is'} NaN or infinite"
    return ""


def find(path: str | Path) -> Path:
    """The checkpoint folder for `path`: itself, a run's `best` or else `last`, or the one that contains a file at `path`.

    A file that was exported from a run and is still in its folder refers to the run.

    Raises:
        CheckpointError: there is none; the hint says what to do with the thing found instead.
    """
    path = Path(path)
    if path.name in (WEIGHTS, DESCRIPTION) and (path.parent / DESCRIPTION).is_file():
        return path.parent
    if path.is_file():
        run = exported_from(path)
        if run is None:
            raise _not_a_checkpoint(path)
        path = run
    for folder in (path, path / "best", path / "last"):
        if (settled(folder) / DESCRIPTION).is_file():
            return settled(folder)
    if not path.exists():
        raise CheckpointError(f"'{path}' does not exist", hint="give a run folder or a checkpoint folder")
    if (path / WEIGHTS).is_file():
        raise CheckpointError(f"'{path}' has '{WEIGHTS}' but no '{DESCRIPTION}', which describes the network")
    raise CheckpointError(
        f"'{path}' holds no checkpoint: no '{DESCRIPTION}' in it, nor in 'best' or 'last'", hint=_instead(path)
    )


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """An empty folder to fill. It replaces `folder` when the block ends, and is deleted if the block raises.

    Raises:
        CheckpointError: `folder` is not a checkpoint, or the disk is full or not writable.
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
    foreign = sorted(path.name for path in folder.iterdir() if path.is_dir() or path.suffix not in _PARTS)
    if foreign:
        raise CheckpointError(f"'{folder}' holds {_some(foreign)}, which this would delete", hint="choose another folder")


@dataclass(frozen=True, slots=True)
class _Description:
    """The content of `model.json`."""

    format: int
    weights_sha256: str
    spec: ModelSpec
    version: str = ""
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)  # written by any version
    int8: Structure | None = None


def _read_description(path: Path) -> _Description:
    try:
        if path.stat().st_size > _LARGEST:
            raise CheckpointError(f"'{path}' is damaged: it has more than {_LARGEST // 2**20} MB")
        data = parse(path.read_bytes())
        number = data.get("format") if isinstance(data, dict) else None
        if type(number) is not int or "spec" not in data:
            raise CheckpointError(f"'{path}' was not written by mobilenets: it has no format number and network")
        if number > FORMAT:
            raise CheckpointError(
                f"'{path}' has format {number}, and this version reads up to {FORMAT}", hint="upgrade mobilenets"
            )
        return decode({**data, "spec": current(data["spec"])}, _Description, choices={**CHOICES, **op.CHOICES})
    except OSError as error:
        raise CheckpointError(f"cannot read '{path}': {error.strerror or error}") from error
    except DocumentError as error:
        raise CheckpointError(f"'{path}' is damaged: {error}") from error


def _unfilled(checkpoint: Checkpoint, path: str | Path) -> Model:
    """The network without memory for its weights, so that a damaged description cannot request more than the file contains."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            if checkpoint.int8 is None:
                return Model(checkpoint.spec)
            return QuantizedModel(checkpoint.spec, unlearned(checkpoint.spec, checkpoint.int8, checkpoint.weights))
    except (MobileNetsError, RuntimeError, ValueError, TypeError, ArithmeticError, LookupError) as error:
        raise CheckpointError(f"'{path}' describes a network that cannot be built: {error}") from error


def _check_fit(expected: Mapping[str, Tensor], given: Mapping[str, Tensor], path: str | Path) -> None:
    """Check that the weights have the network's names, shapes and types."""
    unfit = f"'{path}' does not fit the network it describes: "
    missing, surplus = sorted(expected.keys() - given.keys()), sorted(given.keys() - expected.keys())
    if missing or surplus:
        reasons = [f"lacks {_some(missing)}"] if missing else []
        reasons += [f"has {_some(surplus)} too many"] if surplus else []
        raise CheckpointError(f"{unfit}it {' and '.join(reasons)}")
    for name, tensor in expected.items():
        if tensor.shape != given[name].shape:
            raise CheckpointError(
                f"{unfit}'{name}' has shape {list(given[name].shape)} where the network has {list(tensor.shape)}"
            )
        if tensor.is_floating_point() != given[name].is_floating_point():
            raise CheckpointError(f"{unfit}'{name}' holds {given[name].dtype} where the network has {tensor.dtype}")


def exported_from(path: Path) -> Path | None:
    """The run or checkpoint folder around an exported file; None for other files, or if the file was moved."""
    if path.suffix.lower() != ".onnx" and not beside(path).is_file():
        return None
    for folder in (path.parent, path.parent.parent):
        places = [settled(place) for place in (folder, folder / "best", folder / "last")]
        if any((place / DESCRIPTION).is_file() and (place / WEIGHTS).is_file() for place in places):  # TensorFlow.js has one
            return folder
    return None


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
        return CheckpointError(
            f"'{path}' is an exported network, which only predicts; it is not in a run folder with its checkpoint",
            hint=f"mobilenets predict {path} IMAGE, or mobilenets.Predictor.open in Python",
        )
    return CheckpointError(f"'{path}' is a file, and a checkpoint is a folder with '{WEIGHTS}' and '{DESCRIPTION}'")


def _instead(folder: Path) -> str:
    """The hint for a folder without a checkpoint: what to pass instead."""
    if holds_graph(folder):
        return "its network is quantized, which torch cannot run; give the float run it was made from"
    if holds_cpp(folder):
        return IS_CPP
    run = folder.resolve().parent
    if folder.is_dir() and any((run / name / DESCRIPTION).is_file() for name in ("best", "last")):
        return f"give its run: {shlex.quote(str(folder.parent))}"
    return "give a run folder or a checkpoint folder; 'mobilenets train' makes one from a dataset"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"'{name}'" for name in names[:3]) + more
