"""Keras files with only weights and no configuration: the order and shapes of the layers must reveal the network.

The files differ in names but not in order: convolutions, depthwise convolutions and batch norms are each stored in the order
in which an image passes them. What a file cannot tell (activations of hidden layers, pooling, preprocessing) is noted as an
assumption or causes an error.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from mobilenets.errors import WeightsError
from mobilenets.specs.families import backbone
from mobilenets.specs.rows import Activation, BackboneSpec, Bottleneck, Conv, Padding, Separable
from mobilenets.weights.assemble import NORM, Block, Network
from mobilenets.weights.dense import Dense, Top, top_of
from mobilenets.weights.graphs.pixels import IMAGENET, WHOLE
from mobilenets.weights.heads import Output, classifier
from mobilenets.weights.keras.files import Array, Group, Stored
from mobilenets.weights.told import Told

# fmt: off
NETWORKS: dict[tuple[int, bool], tuple[str, Padding, Activation | None]] = {
    # depthwise layers, squeeze-excite: name, padding, activation if it is not the paper's
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
    """The layers of a file, each kind in order, as `Tensor`s in torch's layout."""

    convs: deque[dict[str, Tensor]] = field(default_factory=deque)
    depthwise: deque[dict[str, Tensor]] = field(default_factory=deque)
    norms: deque[dict[str, Tensor]] = field(default_factory=deque)
    dense: deque[dict[str, Tensor]] = field(default_factory=deque)


def network_of(stored: Stored, told: Told, labels: int) -> Network:
    """The network in a file with only weights.

    Args:
        stored: the open file.
        told: the user's statements about the file.
        labels: number of class names that the user gave.

    Raises:
        WeightsError: it is not one of keras.applications' MobileNets.
    """
    listed = any(name.startswith("layer_names") for name in stored.root.attrs)
    layers = _sorted(_listed(stored) if listed else _numbered(stored, stored.root))
    squeezes = sum("bias" in conv for conv in layers.convs) > 2  # without squeeze-excite only the top has biases
    count = len(layers.depthwise)
    if (count, squeezes) not in NETWORKS:
        raise WeightsError(
            f"'{stored.origin}' has {count} depthwise layers and is none of keras.applications' MobileNets",
            hint="save the whole model (model.save), so that the file describes its layers",
        )
    name, padding, activation = NETWORKS[count, squeezes]
    like = backbone(name, padding=padding, activation=activation)
    try:
        blocks = [_block(layers, i, like) for i in range(len(like.rows))]
    except IndexError as error:
        raise WeightsError(f"'{stored.origin}' has fewer layers than {name}; is it cut off?") from error
    features = next(len(tensor) for name, tensor in reversed(list(blocks[-1].tensors.items())) if name.endswith("norm.bias"))
    top = _top(layers, like, features, told, Output(stored.origin, labels=labels))
    left = len(layers.convs) + len(layers.depthwise) + len(layers.norms) + len(layers.dense)
    if left:
        raise WeightsError(
            f"'{stored.origin}' has {left} layers that {name} has no place for",
            hint="save the whole model (model.save), so that the file describes its layers",
        )
    contract = IMAGENET if len(top.head.get("bias", ())) in (0, 1000) else WHOLE
    return Network(like, blocks, replace(contract, size=224), top.tail, top.head, notes=top.notes)


def _block(layers: Layers, i: int, like: BackboneSpec) -> Block:
    row = like.rows[i]
    taken: dict[str, Tensor] = {}
    if isinstance(row, Conv):
        taken = _conv(layers, "")
    elif isinstance(row, Separable):
        taken = _depthwise(layers) | _conv(layers, "pointwise")
    else:
        assert isinstance(row, Bottleneck)
        if i > 1:  # the first block has no expansion
            taken = _conv(layers, "expand")
        taken |= _depthwise(layers)
        if row.c_squeeze:
            for part in ("reduce", "expand"):
                taken |= {f"squeeze.{part}.{name}": tensor for name, tensor in layers.convs.popleft().items()}
        taken |= _conv(layers, "project")
    return Block(type(row), taken, row.stride, row.activation)


def _top(layers: Layers, like: BackboneSpec, features: int, told: Told, output: Output) -> Top:
    """The layers after pooling and the classifier; a file saved without top has neither."""
    own = 2 if like.tail else 1  # convolutions of keras.applications' own top; V2's is dense
    if len(layers.convs) == own and not layers.dense:
        tail = []
        if like.tail:
            layer = layers.convs.popleft()
            tail = [Block(Conv, {f"conv.{name}": tensor for name, tensor in layer.items()}, activation=like.tail[0].activation)]
        head = layers.convs.popleft()
        return Top(tail, classifier(head["weight"][:, :, 0, 0], head.get("bias"), output))
    dense = [Dense(f"dense layer {i}", each["weight"], each.get("bias")) for i, each in enumerate(layers.dense)]
    layers.dense.clear()
    return top_of(dense, features, told.hidden_activation, output)


def _conv(layers: Layers, ours: str) -> dict[str, Tensor]:
    return _with_norm(layers, layers.convs.popleft(), ours)


def _depthwise(layers: Layers) -> dict[str, Tensor]:
    return _with_norm(layers, layers.depthwise.popleft(), "depthwise")


def _with_norm(layers: Layers, conv: dict[str, Tensor], ours: str) -> dict[str, Tensor]:
    lead = f"{ours}." if ours else ""
    taken = {f"{lead}conv.{name}": tensor for name, tensor in conv.items()}
    return taken | {f"{lead}norm.{name}": tensor for name, tensor in layers.norms.popleft().items()}


def _listed(stored: Stored) -> Iterator[list[Array]]:
    """The weights of each layer in an `.h5` file, in the order listed in its attributes; nested models are flattened."""
    for layer in stored.names(stored.root, "layer_names"):
        group = stored.child(stored.root, layer)
        parts: dict[str, list[str]] = {}
        for name in stored.names(group, "weight_names"):
            parts.setdefault(name.rpartition("/")[0], []).append(name)
        for names in parts.values():
            yield [stored.array(group, name) for name in names]


def _numbered(stored: Stored, group: Group) -> Iterator[list[Array]]:
    """The weights of each layer in a `.weights.h5` file, whose layers are numbered per class: `conv2d`, `conv2d_1`.

    A model of a user-defined class stores its layers under the names of their attributes. Nested models come first, and the
    user's own layers follow.
    """
    container = stored.container(group)
    container = group if container is None else container
    layers = {name: stored.child(container, name) for name in container if name not in ("optimizer", "vars", "seed_generator")}
    inner = {name for name, layer in layers.items() if "vars" not in layer or stored.container(layer) is not None}

    def place(name: str) -> tuple[bool, bool, int]:
        number = re.search(r"_(\d{1,9})$", name)
        return name not in inner, name.startswith("dense"), int(number[1]) if number else 0  # dense layers come last

    for name in sorted(layers, key=place):
        if name in inner:
            yield from _numbered(stored, layers[name])
            continue
        variables = stored.child(layers[name], "vars")
        yield [stored.array(variables, str(i)) for i in range(len(variables))]


def _sorted(layers_of_file: Iterator[list[Array]]) -> Layers:
    """Layers by kind, recognized by their shapes; a depthwise kernel has one filter per channel."""
    layers = Layers()
    for arrays in layers_of_file:
        tensors = [torch.from_numpy(array) for array in arrays]
        shapes = [tensor.ndim for tensor in tensors]
        if shapes == [1, 1, 1, 1]:
            layers.norms.append(dict(zip(NORM, tensors, strict=True)))
        elif shapes and shapes[0] == 4 and tensors[0].shape[3] == 1 and tensors[0].shape[0] > 1:
            layers.depthwise.append({"weight": tensors[0].permute(2, 3, 0, 1)})  # k k C 1 to C 1 k k
        elif shapes in ([4], [4, 1]):
            layers.convs.append(dict(zip(("weight", "bias"), (tensors[0].permute(3, 2, 0, 1), *tensors[1:]), strict=False)))
        elif shapes in ([2], [2, 1]):
            layers.dense.append(dict(zip(("weight", "bias"), (tensors[0].T, *tensors[1:]), strict=False)))
        elif len(arrays) and any(array.ndim for array in arrays):
            raise ValueError(f"a layer with weights of {[array.shape for array in arrays]}")
    return layers
