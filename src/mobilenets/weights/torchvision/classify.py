"""torchvision's state dicts: MobileNetV2, MobileNetV3 Large and Small, any width."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mobilenets.errors import WeightsError
from mobilenets.specs.families import backbone
from mobilenets.specs.model import IMAGENET_MEAN, IMAGENET_STD, InputContract
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv
from mobilenets.weights.assemble import Block, Network, Tensors

CONTRACT = InputContract(size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, resize="shorter_side_then_crop", crop=224 / 256)

# fmt: off
NETWORKS = {  # entries of `features`, stem and last layer included: name, norm eps, norm momentum
    19: ("mobilenet_v2",       1e-5, 0.1),
    17: ("mobilenet_v3_large", 1e-3, 0.01),
    13: ("mobilenet_v3_small", 1e-3, 0.01),
}
# fmt: on


def fits(names: Mapping[str, Tensor]) -> bool:
    """Whether these are torchvision's names."""
    return "features.0.0.weight" in names


def read(state: Mapping[str, Tensor], origin: str) -> Network:
    """The network in a torchvision state dict.

    Args:
        state: tensors by torchvision's names.
        origin: the file, for messages.

    Raises:
        WeightsError: it is none of the three.
    """
    tensors = Tensors(state, origin)
    count = len(tensors.numbers("features."))
    if count not in NETWORKS:
        raise WeightsError(f"'{origin}' has {count} features, none of torchvision's MobileNets has")
    name, eps, momentum = NETWORKS[count]
    like = backbone(name, padding="symmetric", norm_eps=eps, norm_momentum=momentum)
    blocks = blocks_of(tensors, like)
    head, tail = "classifier.1", []
    if like.tail:
        linear = tensors.take("classifier.0.weight")
        layer = {"conv.weight": linear[:, :, None, None], "conv.bias": tensors.take("classifier.0.bias")}
        head, tail = "classifier.3", [Block(Conv, layer, activation=like.tail[0].activation)]
    classifier = {part: tensors.take(f"{head}.{part}") for part in ("weight", "bias")}
    tensors.done()
    return Network(like, blocks, CONTRACT, tail, classifier)


def blocks_of(tensors: Tensors, like: BackboneSpec) -> list[Block]:
    """Everything under `features`, row by row.

    Args:
        tensors: of the state dict.
        like: the network, whose rows say strides and activations.
    """
    return [
        Block(Conv, tensors.conv("", f"features.{i}.0", f"features.{i}.1"), row.stride, row.activation)
        if isinstance(row, Conv)
        else _bottleneck(tensors, i, like)
        for i, row in enumerate(like.rows)
    ]


def _bottleneck(tensors: Tensors, i: int, like: BackboneSpec) -> Block:
    """One inverted residual: V2 keeps its layers under `conv`, with the projection unwrapped; V3 under `block`."""
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
