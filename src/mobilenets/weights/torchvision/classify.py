"""torchvision's state dicts: MobileNetV2, MobileNetV3 Large and Small, any width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from mobilenets.errors import WeightsError
from mobilenets.specs.families import backbone
from mobilenets.specs.model import IMAGENET_MEAN, IMAGENET_STD, InputContract
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv
from mobilenets.specs.v3 import TORCHVISION
from mobilenets.weights.assemble import Block, Network, Tensors, width_of
from mobilenets.weights.dense import Dense, top_of
from mobilenets.weights.heads import Output
from mobilenets.weights.layout import FEATURES, Layout, chosen, dense_layers, left_out
from mobilenets.weights.told import NOTHING_TOLD, Told

CONTRACT = InputContract(size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, resize="shorter_side_then_crop", crop=224 / 256)

# fmt: off
NETWORKS = {  # number of entries in `features`, stem and last layer included: name, batch norm epsilon, batch norm momentum
    19: ("mobilenet_v2",       1e-5, 0.1),
    17: ("mobilenet_v3_large", 1e-3, 0.01),
    13: ("mobilenet_v3_small", 1e-3, 0.01),
}
# fmt: on


def read(
    state: Mapping[str, Tensor], origin: str, *, ordered: bool = True, told: Told = NOTHING_TOLD, labels: int = 0
) -> Network:
    """The network in a state dict with torchvision's features, under any prefix, and a head of fully connected layers.

    Args:
        state: tensors by the file's names.
        origin: the file, for messages.
        ordered: whether the tensors are in the order of the layers.
        told: the user's statements about the file.
        labels: number of class names that the user gave.

    Raises:
        WeightsError: it is none of the three networks, or it has another head.
    """
    layout = chosen(state, origin, key=told.key) or Layout("torchvision", FEATURES, state)
    tensors = Tensors(layout.body, origin)
    count = len(tensors.numbers(FEATURES))
    if count not in NETWORKS:
        raise WeightsError(
            f"'{origin}' has {count} features, none of torchvision's MobileNets has",
            hint="MobileNetV2 has 19 with its last layer, MobileNetV3 Large 17 and Small 13",
        )
    name, eps, momentum = NETWORKS[count]
    like = backbone(name, padding="symmetric", norm_eps=eps, norm_momentum=momentum)
    blocks = blocks_of(tensors, like)
    tensors.done()
    dense = dense_layers(layout.rest, origin, ordered=ordered)
    features = len(blocks[-1].tensors["norm.bias"])
    own = _is_own(dense, blocks, like)
    activation = told.hidden_activation or (like.tail[0].activation if own else "")
    top = top_of(dense, features, activation, Output(origin, labels=labels))
    notes = ("its hidden layer has hard-swish, as torchvision's own; the file does not say",) if own else top.notes
    return Network(like, blocks, CONTRACT, top.tail, top.head, notes=(*notes, *left_out(layout)))


def _is_own(dense: Sequence[Dense], blocks: Sequence[Block], like: BackboneSpec) -> bool:
    """Whether a head has the names and hidden size of torchvision's own MobileNetV3."""
    if not like.tail or [layer.name for layer in dense] != ["classifier.0", "classifier.3"]:
        return False
    width = width_of(Network(like, blocks, CONTRACT))
    return len(dense[0].weight) == backbone(like.name, width=width, scaling=TORCHVISION).tail[0].c_out


def blocks_of(tensors: Tensors, like: BackboneSpec) -> list[Block]:
    """Everything under `features`, row by row.

    Args:
        tensors: the tensors of the state dict.
        like: the network, whose rows provide strides and activations.
    """
    return [
        Block(Conv, tensors.conv("", f"features.{i}.0", f"features.{i}.1"), row.stride, row.activation)
        if isinstance(row, Conv)
        else _bottleneck(tensors, i, like)
        for i, row in enumerate(like.rows)
    ]


def _bottleneck(tensors: Tensors, i: int, like: BackboneSpec) -> Block:
    """One inverted residual block: V2 keeps its layers under `conv`, with the projection unwrapped; V3 under `block`."""
    row = like.rows[i]
    assert isinstance(row, Bottleneck)
    lead = f"features.{i}.conv." if tensors.numbers(f"features.{i}.conv.") else f"features.{i}.block."
    taken: dict[str, Tensor] = {}
    pairs = []
    for j in tensors.numbers(lead):
        if tensors.has(f"{lead}{j}.fc1.weight"):
            for part in ("weight", "bias"):
                taken[f"squeeze.reduce.{part}"] = tensors.take(f"{lead}{j}.fc1.{part}")
                taken[f"squeeze.expand.{part}"] = tensors.take(f"{lead}{j}.fc2.{part}")
        elif tensors.has(f"{lead}{j}.0.weight"):
            pairs.append((f"{lead}{j}.0", f"{lead}{j}.1"))
        elif not tensors.has(f"{lead}{j}.running_mean"):
            pairs.append((f"{lead}{j}", f"{lead}{j + 1}"))
    for ours, (conv, norm) in zip(("project", "depthwise", "expand"), reversed(pairs), strict=False):
        taken.update(tensors.conv(ours, conv, norm))
    return Block(Bottleneck, taken, row.stride, row.activation)
