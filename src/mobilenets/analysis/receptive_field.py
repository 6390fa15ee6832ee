"""The receptive field of a network: the square of input pixels that one value of a feature map depends on."""

from __future__ import annotations

from dataclasses import dataclass

from mobilenets.analysis.layers import LayerGraph


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """The receptive field of one value of a map.

    Args:
        size: side of the square, px; it may be larger than the image.
        stride: distance between the squares of neighboring values, px.
    """

    size: int
    stride: int


def receptive_fields(graph: LayerGraph) -> dict[int, ReceptiveField]:
    """The receptive field of every feature map, by value; maps that see the whole image are left out.

    Squeeze-excite and attention see the whole image, so only the shortcut beside them and the convolutions are considered.
    """
    fields = {0: ReceptiveField(1, 1)}
    for layer in graph.layers:
        known = [fields[value] for value in layer.inputs if value in fields]
        if not known or layer.kind in ("pool", "matmul", "linear", "other"):
            continue
        widest = max(known, key=lambda field: field.size)
        if layer.window is None:
            fields[layer.output] = widest
        else:
            grown = (layer.window.kernel[0] - 1) * layer.window.dilation[0] * widest.stride
            fields[layer.output] = ReceptiveField(widest.size + grown, widest.stride * layer.window.stride[0])
    return fields


def receptive_field(graph: LayerGraph) -> ReceptiveField:
    """The receptive field of the last map, before pooling."""
    fields = receptive_fields(graph)
    return fields[max(fields)]
