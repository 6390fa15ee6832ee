"""Hugging Face transformers' state dicts: MobileNetV1 and V2, any width, with the configuration beside the file.

`config.json` has the padding, the epsilon of batch norms and the class names; `preprocessor_config.json` has the input
contract. Both are optional. Without them, the defaults of transformers apply, which are those of TensorFlow's models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from mobilenets.documents import parse
from mobilenets.errors import DocumentError, SpecError, WeightsError
from mobilenets.specs.families import backbone
from mobilenets.specs.model import HALF, InputContract, Interpolation
from mobilenets.specs.rows import Bottleneck, Conv, Separable
from mobilenets.weights.assemble import Block, Network, Tensors
from mobilenets.weights.dense import top_of
from mobilenets.weights.heads import Output
from mobilenets.weights.layout import chosen, dense_layers, left_out
from mobilenets.weights.told import NOTHING_TOLD, Basis, Contract, Told

CONTRACT = InputContract(size=224, mean=HALF, std=HALF, resize="shorter_side_then_crop", crop=224 / 256)
CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"

_STRIDES = {
    "mobilenet_v1": (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1),
    "mobilenet_v2": (2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1),
}
_INTERPOLATIONS: dict[object, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_LARGEST = 1 << 24  # maximum size of a configuration in bytes


@dataclass(frozen=True, slots=True)
class _Config:
    """The contents of `config.json`; the defaults are those of transformers."""

    activation: Literal["relu", "relu6"] = "relu6"
    norm_eps: float = 1e-3
    tf_padding: bool = True
    labels: tuple[str, ...] = ()


def read(
    state: Mapping[str, Tensor], path: Path, *, ordered: bool = True, told: Told = NOTHING_TOLD, labels: int = 0
) -> Network:
    """The network in a transformers state dict, under any prefix, with a head of fully connected layers.

    Args:
        state: tensors by the file's names.
        path: the file, for messages and to find the configuration beside it.
        ordered: whether the tensors are in the order of the layers.
        told: the user's statements about the file.
        labels: number of class names that the user gave.

    Raises:
        WeightsError: it is neither of the two networks, or its configuration says that it computes something else.
    """
    origin = str(path)
    layout = chosen(state, origin, key=told.key)
    if layout is None or layout.kind != "transformers":
        raise WeightsError(f"'{origin}' is none of transformers' MobileNets")
    config, contract = _config(path.with_name(CONFIG)), _contract(path.with_name(PREPROCESSOR))
    tensors = Tensors(layout.body, origin)
    name = "mobilenet_v2" if tensors.has("conv_stem.first_conv.convolution.weight") else "mobilenet_v1"
    like = backbone(
        name,
        padding="tf" if config.tf_padding else "symmetric",
        activation=config.activation if name == "mobilenet_v1" or config.activation != "relu6" else None,
        norm_eps=config.norm_eps,
    )
    blocks = {"mobilenet_v1": _v1, "mobilenet_v2": _v2}[name](tensors, config)
    tensors.done()
    features = len(list(blocks[-1].tensors.values())[-1])
    top = top_of(
        dense_layers(layout.rest, origin, ordered=ordered), features, told.hidden_activation, Output(origin, labels=labels)
    )
    found = config.labels if len(config.labels) == len(top.head.get("bias", ())) else ()
    notes = (*top.notes, *left_out(layout))
    return Network(like, blocks, contract.input, top.tail, top.head, labels=found, known=contract.known, notes=notes)


def _v1(tensors: Tensors, config: _Config) -> list[Block]:
    """The stem, then blocks of a depthwise and a pointwise convolution."""
    strides = _checked(tensors, "mobilenet_v1", layers=2)
    blocks = [Block(Conv, _layer(tensors, "", "conv_stem"), 2, config.activation)]
    for i, stride in enumerate(strides):
        taken = _layer(tensors, "depthwise", f"layer.{2 * i}") | _layer(tensors, "pointwise", f"layer.{2 * i + 1}")
        blocks.append(Block(Separable, taken, stride, config.activation))
    return blocks


def _v2(tensors: Tensors, config: _Config) -> list[Block]:
    """The stem, which also holds the first block, the other blocks, and the last convolution."""
    strides = _checked(tensors, "mobilenet_v2", layers=1)
    blocks = [Block(Conv, _layer(tensors, "", "conv_stem.first_conv"), 2, config.activation)]
    for lead, stride in (("conv_stem", 1), *((f"layer.{i}", stride) for i, stride in enumerate(strides))):
        taken: dict[str, Tensor] = {}
        for ours, theirs in (("expand", "expand_1x1"), ("depthwise", "conv_3x3"), ("project", "reduce_1x1")):
            if tensors.has(f"{lead}.{theirs}.convolution.weight"):
                taken |= _layer(tensors, ours, f"{lead}.{theirs}")
        blocks.append(Block(Bottleneck, taken, stride, config.activation))
    return [*blocks, Block(Conv, _layer(tensors, "", "conv_1x1"), activation=config.activation)]


def _layer(tensors: Tensors, ours: str, theirs: str) -> dict[str, Tensor]:
    return tensors.conv(ours, f"{theirs}.convolution", f"{theirs}.normalization")


def _checked(tensors: Tensors, name: str, layers: int) -> tuple[int, ...]:
    """The strides of a network's blocks, if it has that many layers."""
    strides, count = _STRIDES[name], len(tensors.numbers("layer."))
    if count != layers * len(strides):
        raise WeightsError(f"'{tensors.origin}' has {count} layers, not the {layers * len(strides)} of transformers' {name}")
    return strides


def _config(path: Path) -> _Config:
    """The network's configuration.

    Raises:
        WeightsError: the network has dilations or an activation that ours does not have.
    """
    data = _object(path)
    if not str(data.get("model_type", "")).startswith("mobilenet_v"):
        return _Config()
    stride, activation = data.get("output_stride", 32), data.get("hidden_act", "relu6")
    if stride != 32:
        raise WeightsError(
            f"'{path}' says output_stride {stride}: dilated classifiers are not converted", hint="train it with 32"
        )
    if activation not in ("relu", "relu6"):
        raise WeightsError(f"'{path}' says hidden_act '{activation}', not relu or relu6")
    eps = data.get("layer_norm_eps", 1e-3)
    if not isinstance(eps, int | float) or not 0 < eps < 1:
        raise WeightsError(f"'{path}' says layer_norm_eps {eps}, which is not between 0 and 1")
    return _Config(activation, float(eps), data.get("tf_padding", True) is not False, _labels(data.get("id2label")))


def _labels(names: Any) -> tuple[str, ...]:  # Any: JSON
    """The class names; () if they carry no information, or one name stands for two classes."""
    if not isinstance(names, dict) or set(names) != {str(i) for i in range(len(names))}:
        return ()
    ordered = tuple(str(names[str(i)]) for i in range(len(names)))
    is_plain = ordered == tuple(f"LABEL_{i}" for i in range(len(ordered)))
    return () if is_plain or len(set(ordered)) < len(ordered) else ordered


def _contract(path: Path) -> Contract:
    """The input contract according to a preprocessor's configuration, as far as it states one."""
    data = _object(path)
    try:
        mean, std, side = data["image_mean"], data["image_std"], data["crop_size"]["height"]
        shorter = data["size"]["shortest_edge"]
        if not (data.get("do_resize", True) and data.get("do_center_crop", True) and data["crop_size"]["width"] == side):
            return Contract(CONTRACT)
        scaled = 255 * float(data.get("rescale_factor", 1 / 255))
        contract = InputContract(
            size=side,
            mean=tuple(float(x) / scaled for x in mean),
            std=tuple(float(x) / scaled for x in std),
            resize="shorter_side_then_crop",
            crop=side / shorter,
            interpolation=_INTERPOLATIONS[data.get("resample", 2)],
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError, SpecError):
        return Contract(CONTRACT)
    basis: Basis = "read"
    return Contract(contract, dict.fromkeys(("size", "pixels", "resize", "crop"), basis))


def _object(path: Path) -> Mapping[str, Any]:  # Any: JSON
    """The JSON object in a file; {} if there is none."""
    try:
        data = parse(path.read_bytes()) if path.is_file() and path.stat().st_size < _LARGEST else {}
    except (OSError, DocumentError):
        return {}
    return data if isinstance(data, dict) else {}
