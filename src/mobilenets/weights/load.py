"""`load`: a `Model` from public weights by name, or from a file of another library."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mobilenets import checkpoint
from mobilenets.errors import SpecError, WeightsError
from mobilenets.model import Model
from mobilenets.specs.families import BACKBONES
from mobilenets.specs.model import InputContract
from mobilenets.table import unknown_name
from mobilenets.weights import keras, timm
from mobilenets.weights.assemble import Network, assemble
from mobilenets.weights.catalogue import CATALOGUE, Library, by_file, for_model
from mobilenets.weights.download import cached, check, fetch
from mobilenets.weights.labels import labels_for
from mobilenets.weights.tflite import read as tflite
from mobilenets.weights.tflite import segment as tflite_segment
from mobilenets.weights.tflite.graph import read_graph
from mobilenets.weights.torchvision import classify as torchvision
from mobilenets.weights.torchvision import segment as torchvision_segment
from mobilenets.weights.torchvision import ssd as torchvision_ssd

WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema")
LEADS = ("module.", "_orig_mod.")
ASSUMED = " (input contract assumed)"  # a state dict says nothing of it: its library's usual one is taken
PLAIN = " (plain strides assumed)"  # timm has variants that pool instead, with the same tensors
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # how files of torch before 1.6 begin


@dataclass(frozen=True, slots=True)
class Claim:
    """What is known of a file beside its tensors.

    Args:
        origin: the library whose format it is; None to find out.
        architecture: timm's name of the network; empty when not known.
        input: the contract that belongs to the weights; None for the library's usual one.
        name: where the weights come from, for display.
    """

    origin: Library | None
    architecture: str
    input: InputContract | None
    name: str


def load(
    source: str | Path,
    *,
    library: Library | None = None,
    model: str = "",
    width: float = 0.0,
    labels: Sequence[str] = (),
) -> Model:
    """A model with public weights, or with those of a file, in evaluation mode.

    A state dict that comes with nothing else gets the input contract that its library usually has, and is taken for the plain
    network where timm has variants with the same tensors (`mobilenetv4_conv_aa_medium`); `spec.weights` says so.
    Weights without batch norms (TFLite) carry identities in their place; `norms.reinsert` makes them fit for training.

    Args:
        source: a name of the catalogue; a `.tflite`, `.h5`, `.keras`, `.weights.h5`, `.pth` or `.safetensors` file; or a
            checkpoint folder.
        library: whose format the file has, where it should not be found out.
        model: the network that is expected; or timm's or the catalogue's name for the file, which gives its input contract.
        width: the width that is expected; 0 for any.
        labels: names for the classes, in place of ImageNet's or numbers.

    Raises:
        WeightsError: not there, damaged, of an unknown kind, or not what is expected.
    """
    if str(source) in CATALOGUE:
        entry = CATALOGUE[str(source)]
        found = _read(fetch(entry), Claim(entry.origin, entry.architecture, entry.input, entry.name), labels)
    else:
        path = Path(source).expanduser()
        if path.is_dir() and not (path / "config.json").is_file():
            found = checkpoint.load(path)
        else:
            found = _read(_file(path, str(source)), _claim(_file(path, str(source)), library, model), labels)
    expected = model if model in BACKBONES else ""
    spec = found.spec.backbone
    if (expected and spec.name != expected) or (width and abs(spec.width - width) > 1e-6):
        wanted = f"{expected or spec.name} {width or spec.width:g}"
        raise WeightsError(f"'{source}' holds {spec.name} {spec.width:g}, not {wanted}")
    return found


def load_best(name: str, width: float = 1.0, *, timeout_s: float = 5.0) -> Model:
    """The best public weights of a network that can be had: from a cache, else by a download; `spec.weights` says which.

    Args:
        name, width: of the network.
        timeout_s: how long a server may take to answer.

    Raises:
        WeightsError: none exist, or none can be had here.
    """
    entries = for_model(name, width)
    if not entries:
        raise WeightsError(f"there are no public weights of {name} at width {width:g}")
    entry = min(entries, key=lambda entry: cached(entry) is None)
    fetch(entry, timeout_s=timeout_s)
    return load(entry.name)


def _claim(path: Path, library: Library | None, model: str) -> Claim:
    """What the name given, the file's name or a configuration beside it say about a file."""
    entry = CATALOGUE[model] if model in CATALOGUE else by_file(path.name)
    if entry is not None:
        if model not in CATALOGUE:
            check(entry, path)
        return Claim(library or entry.origin, entry.architecture, entry.input, path.name)
    config = path.with_name("config.json")
    if config.is_file() and library in (None, "timm"):
        try:
            data = json.loads(config.read_text(encoding="utf-8"))
            return Claim(library, str(data.get("architecture", model)), _timm_contract(data["pretrained_cfg"]), path.name)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SpecError):
            pass  # some other program's file
    architectures = {one.architecture: one for one in CATALOGUE.values() if one.origin == "timm"}
    known = {**dict.fromkeys(timm.OTHER), **dict.fromkeys(timm.FROM_TENSORFLOW), **architectures}
    if model and model not in BACKBONES and model not in known:
        raise unknown_name("network", model, {**BACKBONES, **known, **CATALOGUE})
    contract = architectures[model].input if model in architectures else None
    stem = path.name.partition(".")[0]
    if model not in known and stem in timm.OTHER:
        return Claim(library, stem, None, path.name)  # its name says that it is another network
    return Claim(library, model if model in known else "", contract, path.name)


def _timm_contract(data: Mapping[str, Any]) -> InputContract:  # Any: JSON
    channels, size, _ = data["input_size"]
    return InputContract(
        size=size,
        channels=channels,
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        resize="shorter_side_then_crop",
        crop=data["crop_pct"],
        interpolation=data["interpolation"],
    )


def _file(path: Path, source: str) -> Path:
    if path.is_dir():
        path = path / "model.safetensors"
    if path.is_file():
        return path
    if "/" in source and not path.parent.is_dir():
        raise unknown_name("public weights", source, CATALOGUE)
    raise WeightsError(
        f"there is no file '{source}' and no public weights of that name",
        hint="`mobilenets models --pretrained` lists the names",
    )


def _read(path: Path, claim: Claim, labels: Sequence[str]) -> Model:
    network = _network(path, claim)
    name = claim.name
    if claim.input is not None:
        network = replace(network, input=claim.input)
    elif network.input in (timm.CONTRACT, torchvision.CONTRACT, torchvision_segment.CONTRACT):
        name += ASSUMED
    if network.like.name in timm.TWINS and not claim.architecture:
        name += PLAIN
    try:
        return assemble(network, labels=labels_for(network.classes, labels or network.labels), weights=name)
    except SpecError as error:
        raise WeightsError(f"'{path}' cannot be used: {error}") from error


def _network(path: Path, claim: Claim) -> Network:
    kind = claim.origin or _kind(path)
    if kind == "tflite":
        graph = read_graph(path)
        return tflite_segment.network_of(graph) if tflite_segment.fits(graph) else tflite.network_of(graph)
    if kind == "keras":
        return keras.read(path)
    state = _state(path)
    if kind != "timm" and torchvision_ssd.fits(state):
        return torchvision_ssd.read(state, str(path))
    if kind != "timm" and torchvision_segment.fits(state):
        return torchvision_segment.read(state, str(path))
    if kind == "torchvision" or (kind != "timm" and torchvision.fits(state)):
        return torchvision.read(state, str(path))
    if kind == "timm" or timm.fits(state):
        return timm.read(state, str(path), architecture=claim.architecture)
    some = ", ".join(f"'{name}'" for name in list(state)[:3])
    raise WeightsError(f"'{path}' is no state dict of torchvision's or timm's MobileNets; it starts with {some}")


def _kind(path: Path) -> str:
    """Whose format a file has, by its first bytes; empty for a state dict."""
    try:
        with path.open("rb") as file:
            first = file.read(8)
        if first[:4] == b"PK\x03\x04":
            with zipfile.ZipFile(path) as archive:
                return "keras" if "model.weights.h5" in archive.namelist() else ""
    except (OSError, zipfile.BadZipFile) as error:
        raise WeightsError(f"cannot read '{path}': {error}") from error
    if first[4:8] == b"TFL3" or path.suffix == ".tflite":
        return "tflite"
    return "keras" if first == b"\x89HDF\r\n\x1a\n" or path.suffix in (".h5", ".hdf5", ".keras") else ""


def _state(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict; one that a training script wrapped is unwrapped."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with path.open("rb") as file:
            if not file.read(len(_LEGACY)).startswith((b"PK\x03\x04", _LEGACY)):
                raise WeightsError(f"'{path}' is no file that torch.save wrote")
        data = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, LookupError, pickle.UnpicklingError, SafetensorError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(
            f"'{path}' is damaged, or holds more than tensors: {said[0][:200]}",
            hint="files that need code to load are refused; save the model's state_dict() alone",
        ) from error
    while isinstance(data, dict) and not any(isinstance(value, Tensor) for value in data.values()):
        inner = next((data[name] for name in WRAPPERS if isinstance(data.get(name), dict)), None)
        if inner is None:
            break
        data = inner
    if not isinstance(data, dict):
        raise WeightsError(f"'{path}' holds a {type(data).__name__}, no state dict")
    return {_bare(str(name)): value for name, value in data.items() if isinstance(value, Tensor)}


def _bare(name: str) -> str:
    """A tensor's name without what DataParallel and torch.compile put before it."""
    for lead in LEADS:
        name = name.removeprefix(lead)
    return name
