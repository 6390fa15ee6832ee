"""State dicts in a file: every one that it contains, by key. No code in a file is run."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mobilenets.errors import WeightsError
from mobilenets.weights.guards import megabytes
from mobilenets.weights.nesting import check_nesting

MOST_BYTES = 2 << 30
"""Maximum size of a file with a state dict, unpacked. The largest network with an optimizer's state has 0.5 GB."""
DEEPEST = 8
"""Maximum depth of nested dicts that are searched."""
MOST_DICTS = 10_000
WRAPPERS = (
    "",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "state_dict_ema",
    "model_ema",
    "ema",
)
"""Keys under which training scripts store a state dict, most likely first; averaged weights come after plain ones."""
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # how files of torch before 1.6 begin
_COUNTER = "n_averaged"  # of torch.optim.swa_utils.AveragedModel
_LEGACY_PICKLES = 5  # their number, protocol, machine, content and storages; then come raw bytes


@dataclass(frozen=True, slots=True)
class State:
    """One state dict of a file.

    Args:
        key: its key in the file, such as `"state_dict"`; empty for the file's outermost dict.
        tensors: the tensors by the file's own names, in its order.
        ordered: whether that order is the one in which layers were created, which safetensors does not preserve.
    """

    key: str
    tensors: Mapping[str, Tensor]
    ordered: bool = True


def read_states(path: Path) -> list[State]:
    """Every dict of tensors in a file, the most likely network first.

    Raises:
        WeightsError: it cannot be read, is too large, or contains more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            _check_size(path, path.stat().st_size)
            return [State("", _pruned(load_file(path)), ordered=False)]
        data = _unpickled(path)
    except WeightsError:
        raise
    except SafetensorError as error:
        raise WeightsError(f"'{path}' is damaged: {error}", hint="download or copy it again") from error
    except Exception as error:  # a damaged pickle can raise any error
        raise WeightsError(
            f"'{path}' is damaged, or holds more than tensors: {_reason(str(error) or type(error).__name__)}",
            hint="files that need code to load are refused; save the model's state_dict() alone",
        ) from error
    if not isinstance(data, dict):
        raise WeightsError(f"'{path}' holds a {type(data).__name__}, not a state dict", hint="save the model's state_dict()")
    states = [State(key, tensors) for key, tensors in _dicts(data) if tensors]
    return sorted(states, key=lambda state: _rank(state.key))


def check_tensors(state: State, origin: str) -> dict[str, Tensor]:
    """The tensors of a state dict, checked to be plain dense arrays.

    Raises:
        WeightsError: one has another layout, or is larger than the file's data for it.
    """
    for name, tensor in state.tensors.items():
        if not _is_plain(tensor):
            kind, hint = _layout(tensor)
            raise WeightsError(f"'{origin}' holds '{name[:80]}' as {kind}, which is not a plain tensor", hint=hint)
        if not _is_stored(tensor):
            raise WeightsError(
                f"'{origin}' stores less of '{name[:80]}' than its shape {list(tensor.shape)} needs",
                hint="the file is damaged; download it again",
            )
    return dict(state.tensors)


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_complex() or tensor.is_meta)


def _is_stored(tensor: Tensor) -> bool:
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _layout(tensor: Tensor) -> tuple[str, str]:
    """What a tensor is that is not plain, and what to do about it."""
    if tensor.is_quantized:
        return "a quantized tensor", "convert the network as it was before quantization"
    if tensor.is_meta:
        return "a tensor of the device 'meta', without numbers", "save the network after its weights are loaded"
    if tensor.is_complex():
        return f"{tensor.dtype}", "the networks here compute with real numbers"
    return f"{tensor.dtype} of layout {tensor.layout}", "save it dense: tensor.to_dense()"


def _unpickled(path: Path) -> Any:  # Any: whatever the file holds
    with path.open("rb") as file:
        if not file.read(len(_LEGACY)).startswith((b"PK\x03\x04", _LEGACY)):
            raise WeightsError(f"'{path}' is not a file that torch.save wrote")
    _check_size(path, path.stat().st_size)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        _check_size(path, sum(member.file_size for member in members))
        if any(re.search(r"(^|/)code/", member.filename) for member in members):
            raise WeightsError(
                f"'{path}' is a TorchScript program, which holds code that is never run",
                hint="save the weights alone: torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')",
            )
    _check_nesting(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of odd protocols before it rejects them
        return torch.load(path, map_location="cpu", weights_only=True)


def _check_nesting(path: Path) -> None:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.endswith(".pkl"):
                    with archive.open(member) as file:
                        check_nesting(file, str(path))
    else:
        with path.open("rb") as file:
            for _ in range(_LEGACY_PICKLES):
                check_nesting(file, str(path))


def _check_size(path: Path, size: int) -> None:
    if size > MOST_BYTES:
        raise WeightsError(
            f"'{path}' has {megabytes(size)}, more than the {megabytes(MOST_BYTES)} that any MobileNet needs",
            hint="the file is damaged; download it again",
        )


def _dicts(data: Mapping[Any, Any]) -> Iterator[tuple[str, dict[str, Tensor]]]:  # Any: whatever the file holds
    """Each dict in a dict, with the tensors in it; a dict that contains itself is entered once."""
    seen: set[int] = set()
    waiting: list[tuple[str, int, Mapping[Any, Any]]] = [("", 0, data)]
    while waiting and len(seen) < MOST_DICTS:
        key, depth, mapping = waiting.pop(0)
        if id(mapping) in seen:
            continue
        seen.add(id(mapping))
        yield key, _pruned({name: x for name, x in mapping.items() if isinstance(name, str) and isinstance(x, Tensor)})
        if depth < DEEPEST:
            inner = ((str(name)[:80], value) for name, value in mapping.items() if isinstance(value, dict))
            waiting += [(f"{key}.{name}" if key else name, depth + 1, value) for name, value in inner]


def _pruned(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without a counter of averaged models, and a pruned one as the product of what PyTorch stores of it.

    `torch.nn.utils.prune` keeps `weight_orig` and `weight_mask` in the place of `weight` until `prune.remove` is called.
    """
    stems = [name.removesuffix("_mask") for name in tensors if name.endswith("_mask") and f"{name[:-5]}_orig" in tensors]
    pruned = {stem for stem in stems if _fits(tensors[f"{stem}_mask"], tensors[f"{stem}_orig"])}
    plain: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        stem = name.removesuffix("_mask").removesuffix("_orig")
        if stem not in pruned:
            plain[name] = tensor
        elif name.endswith("_orig"):
            plain[stem] = tensor * tensors[f"{stem}_mask"]
    return {name: tensor for name, tensor in plain.items() if name.rpartition(".")[2] != _COUNTER}


def _fits(mask: Tensor, tensor: Tensor) -> bool:
    return mask.shape == tensor.shape and all(_is_plain(x) and _is_stored(x) for x in (mask, tensor))


def _rank(key: str) -> tuple[int, int]:
    last = key.rpartition(".")[2]
    return WRAPPERS.index(last) if last in WRAPPERS else len(WRAPPERS), key.count(".")


def _reason(message: str) -> str:
    """torch's message, without its advice to run the file's code."""
    unsupported = re.search(r"GLOBAL ([\w.]+)", message)
    plain = re.sub(r"\s+", " ", re.sub(r"\x1b\[\d*m", "", message)).strip()
    return f"it needs the class {unsupported[1]}" if unsupported else plain[:160]
