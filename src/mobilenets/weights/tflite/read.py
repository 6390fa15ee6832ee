"""TFLite classifiers, float or quantized: MobileNetV1, V2, V3. Width, size, strides and activations are read from the graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from mobilenets.errors import WeightsError
from mobilenets.specs.families import backbone
from mobilenets.specs.model import InputContract
from mobilenets.specs.rows import BackboneSpec, Bottleneck, Conv, Padding, Separable
from mobilenets.weights.assemble import Block, Network
from mobilenets.weights.norms import folded_norm
from mobilenets.weights.tflite.graph import Graph, read_graph
from mobilenets.weights.tflite.layers import Layer, Pads, walked

CONTRACT = InputContract(resize="crop_then_stretch", crop=0.875, interpolation="bilinear")
BACKGROUND = 1001  # classes of TensorFlow's ImageNet classifiers, the first one no class at all

# fmt: off
NETWORKS = {  # (depthwise layers, squeeze-excite): name, whether one activation is everywhere: the one the file has
    (13, False): ("mobilenet_v1",                    True),
    (17, False): ("mobilenet_v2",                    True),
    (15, True):  ("mobilenet_v3_large",              False),
    (11, True):  ("mobilenet_v3_small",              False),
    (15, False): ("mobilenet_v3_large_minimalistic", False),
    (11, False): ("mobilenet_v3_small_minimalistic", False),
}
# fmt: on
PADDINGS: tuple[Padding, ...] = ("tf", "symmetric", "end")


def read(path: Path) -> Network:
    """The network in a TFLite file, its batch norms folded (see `norms`); a background class is left out.

    Raises:
        WeightsError: it is damaged, or no MobileNet classifier.
    """
    return network_of(read_graph(path))


def network_of(graph: Graph) -> Network:
    """The classifier in a TFLite graph.

    Raises:
        WeightsError: it is no MobileNet classifier.
    """
    layers = walked(graph).layers
    if any(layer.dilation > 1 or layer.source.step == "joined" for layer in layers):
        raise WeightsError(f"'{graph.origin}' has dilated or joined layers and is no MobileNet classifier")
    inner = {i for layer in layers for i in layer.squeeze or ()}
    outer = [layer for i, layer in enumerate(layers) if i not in inner]
    pooled = next((i for i, layer in enumerate(outer) if layer.source.step == "pooled"), len(outer))
    count = sum(layer.depthwise for layer in outer)
    if (count, bool(inner)) not in NETWORKS or pooled == len(outer):
        raise WeightsError(f"'{graph.origin}' has {count} depthwise layers and is no MobileNet classifier that can be read")
    name, uniform = NETWORKS[count, bool(inner)]
    activation = outer[0].activation if uniform else None
    like = backbone(name, padding=padding_of(outer[:pooled], graph.origin), activation=activation)
    *tail, head = outer[pooled:]
    return Network(
        like,
        blocks_of(outer[:pooled], layers, like, graph.origin),
        contract_of(graph),
        [Block(Conv, bare("conv", layer), activation=layer.activation) for layer in tail],
        _classifier(head),
    )


def blocks_of(body: list[Layer], layers: list[Layer], like: BackboneSpec, origin: str) -> list[Block]:
    """Layers up to pooling as rows: a depthwise layer takes the 1 x 1 layers around it into its block."""
    blocks: list[Block] = []
    waiting = list(body)
    c_in = body[0].weight.shape[1]
    while waiting:
        layer = waiting.pop(0)
        expands = layer.kernel == 1 and bool(waiting) and waiting[0].depthwise
        if not (layer.depthwise or expands):
            blocks.append(Block(Conv, normed("", layer, like), layer.stride, layer.activation))
            c_in = layer.weight.shape[0]
            continue
        tensors = normed("expand", layer, like) if expands else {}
        depthwise = waiting.pop(0) if expands else layer
        if not waiting:
            raise WeightsError(f"'{origin}' ends in a depthwise layer, which no MobileNet does")
        point = waiting.pop(0)
        tensors |= normed("depthwise", depthwise, like)
        if depthwise.squeeze:
            reduce, expand = (layers[i] for i in depthwise.squeeze)
            tensors |= bare("squeeze.reduce", reduce) | bare("squeeze.expand", expand)
        linear = point.activation == "linear"
        tensors |= normed("project" if linear else "pointwise", point, like)
        c_out = point.weight.shape[0]
        if point.joins != (linear and depthwise.stride == 1 and c_in == c_out):
            raise WeightsError(f"'{origin}' has its residuals elsewhere than a MobileNet: block {len(blocks)}")
        kind = Bottleneck if linear else Separable
        blocks.append(Block(kind, tensors, depthwise.stride, depthwise.activation))
        c_in = c_out
    return blocks


def normed(ours: str, layer: Layer, like: BackboneSpec) -> dict[str, Tensor]:
    """A layer as convolution and the batch norm that adds its bias."""
    lead = f"{ours}." if ours else ""
    norm = folded_norm(torch.from_numpy(layer.bias), like.norm_eps)
    weight = torch.from_numpy(layer.weight)
    return {f"{lead}conv.weight": weight, **{f"{lead}norm.{part}": tensor for part, tensor in norm.items()}}


def bare(ours: str, layer: Layer) -> dict[str, Tensor]:
    """A layer that has no norm."""
    return {f"{ours}.weight": torch.from_numpy(layer.weight), f"{ours}.bias": torch.from_numpy(layer.bias)}


def _classifier(layer: Layer) -> dict[str, Tensor]:
    weight, bias = torch.from_numpy(layer.weight[:, :, 0, 0]), torch.from_numpy(layer.bias)
    if len(bias) == BACKGROUND:
        weight, bias = weight[1:], bias[1:]
    return {"weight": weight, "bias": bias}


def padding_of(body: list[Layer], origin: str) -> Padding:
    """The rule that pads every layer as the file does at its own input size."""
    for rule in PADDINGS:
        if all(layer.pads == _pads(rule, layer) for layer in body):
            return rule
    raise WeightsError(f"'{origin}' pads its layers by no rule that is known")


def _pads(rule: Padding, layer: Layer) -> Pads:
    kernel, stride = layer.reach, layer.stride
    if stride == 1 or rule == "symmetric":
        return (kernel - 1) // 2, (kernel - 1) // 2
    if rule == "end" and layer.depthwise:
        return 0, max(kernel - stride, 0)
    total = max((-(-layer.size // stride) - 1) * stride + kernel - layer.size, 0)
    return total // 2, total - total // 2


def contract_of(graph: Graph) -> InputContract:
    """Size and range of the input. TensorFlow's networks take [-1, 1], which quantized ones write as (q - 128) / 128."""
    image = graph.tensors[graph.inputs[0]]
    if len(image.shape) != 4:
        raise WeightsError(f"'{graph.origin}' takes an input of {len(image.shape)} dimensions, no images")
    _, height, width, channels = image.shape
    if height != width:
        raise WeightsError(f"'{graph.origin}' takes images of {height} x {width}; only square ones can be read")
    contract = replace(CONTRACT, size=height, channels=channels, mean=(0.5,), std=(0.5,))
    if len(image.scale):
        black = int(image.zero_point[0]) + (128 if image.dtype == "i1" else 0)  # pixels are stored from -128 on
        span, low = 255 * float(image.scale[0]), -black * float(image.scale[0])
        if span > 0 and (abs(span - 2) > 0.02 or abs(low + 1) > 0.02):
            contract = replace(contract, mean=(-low / span,), std=(1 / span,))
    return contract
