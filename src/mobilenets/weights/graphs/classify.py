"""Classifiers in a graph: MobileNetV1, V2, V3, EdgeTPU. Width, size, strides, activations and head are read from it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from mobilenets.errors import WeightsError
from mobilenets.specs.families import backbone
from mobilenets.specs.rows import BackboneSpec, Conv
from mobilenets.weights.assemble import Block, Network
from mobilenets.weights.graphs.blocks import bare, blocks_of, padding_of, with_norms
from mobilenets.weights.graphs.graph import Graph
from mobilenets.weights.graphs.pixels import contract_of
from mobilenets.weights.graphs.steps import walked
from mobilenets.weights.graphs.walk import Layer, Walk
from mobilenets.weights.heads import Output, classifier
from mobilenets.weights.told import NOTHING_TOLD, Told

BACKGROUND = 1001
"""Number of classes of TensorFlow's ImageNet classifiers, whose first class is the background."""

# fmt: off
NETWORKS = {  # (depthwise layers, squeeze-excite, fused blocks): name, whether the file uses one activation everywhere
    (13, False, False): ("mobilenet_v1",                    True),
    (17, False, False): ("mobilenet_v2",                    True),
    (15, True,  False): ("mobilenet_v3_large",              False),
    (11, True,  False): ("mobilenet_v3_small",              False),
    (15, False, False): ("mobilenet_v3_large_minimalistic", False),
    (11, False, False): ("mobilenet_v3_small_minimalistic", False),
    (13, False, True):  ("mobilenet_edgetpu",               False),
}
# fmt: on


def network_of(graph: Graph, *, told: Told = NOTHING_TOLD, labels: int = 0) -> Network:
    """The classifier in a graph, or only the backbone if the graph ends there. A background class is removed.

    Args:
        graph: a file's graph.
        told: the user's statements about the file.
        labels: number of class names that the user gave.

    Raises:
        WeightsError: it is not a MobileNet classifier.
    """
    walk = walked(graph)
    if any(layer.dilation > 1 or layer.source.step == "joined" for layer in walk.layers):
        raise WeightsError(
            f"'{graph.origin}' has dilated or joined layers and is not a MobileNet classifier",
            hint="classifiers with one layer after another, and DeepLabv3 and R-ASPP, can be converted",
        )
    outer = outer_layers(walk.layers)
    body, top = _parted(walk, outer)
    like = family_of(body, walk.layers, graph.origin)
    _check_chain(body + top, walk, graph)
    head: dict[str, Tensor] = {}
    if top:
        _check_top(top, graph)
        head = _head(top[-1], Output(graph.origin, walk.ending, graph.loss, labels))
    contract = contract_of(walk, told, imagenet=len(head.get("bias", ())) in (0, 1000))
    return Network(
        like,
        blocks_of(body, walk.layers, like, graph.origin),
        contract.input,
        [Block(Conv, bare("conv", layer), activation=layer.activation) for layer in top[:-1]],
        head,
        known=contract.known,
    )


def outer_layers(layers: Sequence[Layer]) -> list[Layer]:
    """The layers that an image passes in sequence, without those inside squeeze-excite."""
    inner = {i for layer in layers for i in layer.squeeze or ()}
    return [layer for i, layer in enumerate(layers) if i not in inner]


def family_of(body: Sequence[Layer], layers: Sequence[Layer], origin: str) -> BackboneSpec:
    """The network to which these layers up to pooling belong, with the file's padding and batch norm settings.

    Raises:
        WeightsError: no network has this number of layers.
    """
    squeezes = any(layer.squeeze for layer in body)
    fused = any(layer.kernel > 1 and not layer.depthwise for layer in body[1:-1])
    count = sum(layer.depthwise for layer in body)
    if (count, squeezes, fused) not in NETWORKS:
        raise WeightsError(
            f"'{origin}' has {count} depthwise layers and is not a MobileNet that can be converted",
            hint="MobileNet, MobileNetV2, MobileNetV3 Large and Small, and MobilenetEdgeTPU can",
        )
    name, uniform = NETWORKS[count, squeezes, fused]
    padding = padding_of(body, origin, keeps_size=name != "mobilenet_v1")
    return with_norms(backbone(name, padding=padding, activation=body[0].activation if uniform else None), layers)


def _parted(walk: Walk, outer: list[Layer]) -> tuple[list[Layer], list[Layer]]:
    """The layers before pooling, and those after it: hidden layers and the classifier."""
    pooled = next((i for i, layer in enumerate(outer) if layer.source.step == "pooled"), len(outer))
    if pooled < len(outer) or not outer:
        return outer[:pooled], outer[pooled:]
    end = walk.values.get(walk.graph.outputs[0]) if walk.graph.outputs else None
    averaged = walk.pools_scores or (end is not None and end.step == "pooled")
    last = outer[-1]
    linear = last.kernel == 1 and last.activation == "linear" and not (last.depthwise or last.norm or last.joins)
    if averaged and linear and len(outer) > 2 and not outer[-2].depthwise:
        return outer[:-1], outer[-1:]  # a linear layer commutes with the mean
    return outer, []


def _check_chain(layers: Sequence[Layer], walk: Walk, graph: Graph) -> None:
    """Check that every layer follows the one before it, and that the graph ends with the last one."""
    if not layers:
        raise WeightsError(f"'{graph.origin}' has no layers", hint="is it cut off?")
    places = {id(layer): i for i, layer in enumerate(walk.layers)}
    for before, layer in pairwise(layers):
        if layer.source.layer != places[id(before)]:
            raise WeightsError(
                f"'{graph.origin}' branches at {layer.name}, where a MobileNet classifier has one layer after another",
                hint="convert a model with one input, one backbone and one output",
            )
    ends = [walk.values.get(i) for i in graph.outputs]
    if len(ends) != 1 or ends[0] is None or ends[0].layer != places[id(layers[-1])] or ends[0].scaling >= 0:
        raise WeightsError(
            f"'{graph.origin}' has {len(ends)} outputs and does not end with its classifier",
            hint="convert a model with one input, one backbone and one output",
        )


def _check_top(top: Sequence[Layer], graph: Graph) -> None:
    for layer in top:
        if (
            layer.depthwise
            or layer.kernel != 1
            or layer.stride != 1
            or layer.joins
            or (layer.norm is not None and layer is top[-1])
        ):
            raise WeightsError(
                f"'{graph.origin}' has {layer.name} behind the pooling, where only fully connected layers can stand",
                hint="only what a MobileNet has can be converted; without its top the file is a backbone to train from",
            )


def _head(layer: Layer, output: Output) -> dict[str, Tensor]:
    if layer.activation != "linear":
        raise WeightsError(
            f"'{output.origin}' ends in {layer.name} with {layer.activation}, which gives no logits of classes",
            hint="only classifiers can be converted; without its top the file is a backbone to train from",
        )
    tensors = bare("", layer)
    weight, bias = tensors["weight"][:, :, 0, 0], tensors["bias"]
    if len(bias) == BACKGROUND:
        weight, bias = weight[1:], bias[1:]
    return classifier(weight, bias, output)
