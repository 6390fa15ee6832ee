"""Keras files of keras.applications: MobileNet, MobileNetV2, MobileNetV3 Large and Small, any alpha, with or without top.

Read are `.h5` (whole models and weights), `.weights.h5` and `.keras`, with h5py alone. The files differ in names but not in
order: convolutions, depthwise convolutions and batch norms each stand in the order in which an image passes them.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mobilenets.errors import MissingExtraError, WeightsError
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv, Separable
from mobilenets.weights.assemble import NORM, Block, Network

if TYPE_CHECKING:
    from mobilenets.specs.rows import Activation, Padding

CONTRACT = InputContract(
    size=224, resize="crop_then_stretch", crop=0.875, interpolation="bilinear"
)  # MobileNetV3 does that itself

# fmt: off
NETWORKS: dict[tuple[int, bool], tuple[str, Padding, Activation | None]] = {
    # depthwise layers, squeeze-excite: name, padding, activation where it is not the paper's
    (13, False): ("mobilenet_v1",                    "end", "relu6"),
    (17, False): ("mobilenet_v2",                    "tf",  None),
    (15, True):  ("mobilenet_v3_large",              "tf",  None),
    (11, True):  ("mobilenet_v3_small",              "tf",  None),
    (15, False): ("mobilenet_v3_large_minimalistic", "tf",  None),
    (11, False): ("mobilenet_v3_small_minimalistic", "tf",  None),
}
# fmt: on


@dataclass(slots=True)
class Layers:
    """The layers of a file, each kind in order; `Tensor`s in torch's layout."""

    convs: deque[dict[str, Tensor]] = field(default_factory=deque)
    depthwise: deque[dict[str, Tensor]] = field(default_factory=deque)
    norms: deque[dict[str, Tensor]] = field(default_factory=deque)


def read(path: Path) -> Network:
    """The network in a Keras file.

    Raises:
        WeightsError: it is damaged, or none of keras.applications' MobileNets.
        MissingExtraError: h5py is not installed.
    """
    layers, size = _layers(path)
    squeezes = sum("bias" in conv for conv in layers.convs) > 2  # without squeeze-excite only the top has biases
    count = len(layers.depthwise)
    if (count, squeezes) not in NETWORKS:
        raise WeightsError(
            f"'{path}' has {count} depthwise layers and is none of keras.applications' MobileNets",
            hint="a model around one of them must be saved without its own layers",
        )
    name, padding, activation = NETWORKS[count, squeezes]
    like = backbone(name, padding=padding, activation=activation)
    try:
        blocks = [_block(layers, i, like) for i in range(len(like.rows))]
        tail, head = _top(layers, like)
    except IndexError as error:
        raise WeightsError(f"'{path}' has fewer layers than {name}; is it cut off?") from error
    left = len(layers.convs) + len(layers.depthwise) + len(layers.norms)
    if left:
        raise WeightsError(f"'{path}' has {left} layers that {name} has no place for")
    return Network(like, blocks, replace(CONTRACT, size=size or CONTRACT.size), tail, head)


def _block(layers: Layers, i: int, like: BackboneSpec) -> Block:
    row = like.rows[i]
    taken: dict[str, Tensor] = {}
    if isinstance(row, Conv):
        taken = _conv(layers, "")
    elif isinstance(row, Separable):
        taken = _depthwise(layers) | _conv(layers, "pointwise")
    else:
        assert isinstance(row, Bottleneck)
        if i > 1:  # the first block does not expand
            taken = _conv(layers, "expand")
        taken |= _depthwise(layers)
        if row.c_squeeze:
            for part in ("reduce", "expand"):
                taken |= {f"squeeze.{part}.{name}": tensor for name, tensor in layers.convs.popleft().items()}
        taken |= _conv(layers, "project")
    return Block(type(row), taken, row.stride, row.activation)


def _top(layers: Layers, like: BackboneSpec) -> tuple[list[Block], dict[str, Tensor]]:
    """The layers after pooling and the classifier; neither in a file saved without top."""
    if not layers.convs:
        return [], {}
    tail = []
    if like.tail:
        layer = layers.convs.popleft()
        tail = [Block(Conv, {f"conv.{name}": tensor for name, tensor in layer.items()}, activation=like.tail[0].activation)]
    head = layers.convs.popleft()
    return tail, {"weight": head["weight"][:, :, 0, 0], "bias": head["bias"]}


def _conv(layers: Layers, ours: str) -> dict[str, Tensor]:
    return _with_norm(layers, layers.convs.popleft(), ours)


def _depthwise(layers: Layers) -> dict[str, Tensor]:
    return _with_norm(layers, layers.depthwise.popleft(), "depthwise")


def _with_norm(layers: Layers, conv: dict[str, Tensor], ours: str) -> dict[str, Tensor]:
    lead = f"{ours}." if ours else ""
    taken = {f"{lead}conv.{name}": tensor for name, tensor in conv.items()}
    return taken | {f"{lead}norm.{name}": tensor for name, tensor in layers.norms.popleft().items()}


def _layers(path: Path) -> tuple[Layers, int]:
    """The layers of a file, and the input size where it says one, else 0."""
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError("h5py", "weights") from error
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = _size(archive.read("config.json"))
                weights = io.BytesIO(archive.read("model.weights.h5"))
            with h5py.File(weights, "r") as file:
                return _sorted(_numbered(file)), size
        with h5py.File(path, "r") as file:
            if "layers" in file:
                return _sorted(_numbered(file)), 0
            return _sorted(_listed(file)), _size(file.attrs.get("model_config", "{}"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise WeightsError(f"'{path}' is no Keras file that can be read: {error}") from error


def _listed(file: Any) -> Iterator[list[NDArray[np.float32]]]:  # Any: h5py has no types
    """The weights of each layer in an `.h5` file, in the order its attributes list them."""
    root = file.get("model_weights", file)
    for layer in _names(root, "layer_names"):
        group = root[layer]
        yield [np.asarray(group[name], np.float32) for name in _names(group, "weight_names")]


def _names(group: Any, attribute: str) -> list[str]:  # Any: h5py has no types
    """A list of names in the attributes; a long one is split into numbered parts."""
    parts = (
        [attribute]
        if attribute in group.attrs
        else sorted(
            (name for name in group.attrs if re.fullmatch(rf"{attribute}\d+", name)),
            key=lambda name: int(name[len(attribute) :]),
        )
    )
    if not parts:
        raise KeyError(f"no '{attribute}'")
    return [name.decode() if isinstance(name, bytes) else str(name) for part in parts for name in group.attrs[part]]


def _numbered(file: Any) -> Iterator[list[NDArray[np.float32]]]:  # Any: h5py has no types
    """The weights of each layer in a `.weights.h5` file, whose layers are numbered by class: `conv2d`, `conv2d_1`."""

    def place(name: str) -> tuple[bool, int]:
        found = re.search(r"_(\d+)$", name)
        return name.startswith("dense"), int(found[1]) if found else 0  # a dense layer is the classifier, the last one

    for name in sorted(file["layers"], key=place):
        variables = file["layers"][name].get("vars", {})
        yield [np.asarray(variables[str(i)], np.float32) for i in range(len(variables))]


def _sorted(found: Iterator[list[NDArray[np.float32]]]) -> Layers:
    """Layers by kind, which their shapes tell; a depthwise kernel has one filter per channel."""
    layers = Layers()
    for arrays in found:
        tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
        shapes = [tensor.ndim for tensor in tensors]
        if shapes == [1, 1, 1, 1]:
            layers.norms.append(dict(zip(NORM, tensors, strict=True)))
        elif shapes and shapes[0] == 4 and tensors[0].shape[3] == 1 and tensors[0].shape[0] > 1:
            layers.depthwise.append({"weight": tensors[0].permute(2, 3, 0, 1)})  # k k C 1 to C 1 k k
        elif shapes and shapes[0] in (2, 4) and shapes[1:] in ([], [1]):
            kernel = tensors[0] if shapes[0] == 4 else tensors[0][None, None]  # a dense layer is a 1 x 1 convolution
            named = zip(("weight", "bias"), (kernel.permute(3, 2, 0, 1), *tensors[1:]), strict=False)
            layers.convs.append(dict(named))
        elif shapes:
            raise ValueError(f"a layer with weights of {[array.shape for array in arrays]}")
    return layers


def _size(config: str | bytes) -> int:
    """The input's height in a model's configuration; 0 where it is open."""
    found = re.search(
        rb'"batch(?:_input)?_shape": \[null, (\d+), (\d+), \d+\]', config.encode() if isinstance(config, str) else config
    )
    return int(found[1]) if found else 0
