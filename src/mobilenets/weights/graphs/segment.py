"""Segmentation networks in a graph: DeepLabv3 or R-ASPP on a MobileNet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mobilenets.data.readers.cityscapes import LABELS as CITYSCAPES
from mobilenets.errors import WeightsError
from mobilenets.specs.deeplab import DeepLabHead
from mobilenets.specs.rows import BackboneSpec, Conv, places
from mobilenets.specs.segment import segmentation_backbone
from mobilenets.weights.assemble import Block, Network
from mobilenets.weights.graphs.blocks import bare, blocks_of, normed
from mobilenets.weights.graphs.classify import family_of, outer_layers
from mobilenets.weights.graphs.graph import Graph
from mobilenets.weights.graphs.pixels import contract_of
from mobilenets.weights.graphs.steps import walked
from mobilenets.weights.graphs.walk import Layer, Walk
from mobilenets.weights.labels import PASCAL_VOC
from mobilenets.weights.told import NOTHING_TOLD, Told

OUTPUT_STRIDES = (8, 16, 32)
SEGMENTED = {len(PASCAL_VOC): PASCAL_VOC, len(CITYSCAPES): CITYSCAPES}
"""Labels of the public segmentation networks, by number of labels."""


def fits(graph: Graph) -> bool:
    """Whether the graph upsamples feature maps, which no classifier does. (Both kinds may resize images.)"""
    image = graph.inputs[0]
    return any(operator.kind == "RESIZE_BILINEAR" and operator.inputs[0] != image for operator in graph.operators)


def network_of(graph: Graph, *, told: Told = NOTHING_TOLD) -> Network:
    """The network in a graph, up to its logits; argmax and the last upsampling are left to the decoder.

    Args:
        graph: a file's graph.
        told: the user's statements about the file.

    Raises:
        WeightsError: it is not a MobileNet with a DeepLabv3 or R-ASPP head.
    """
    walk = walked(graph)
    if len(walk.layers) < 3:
        raise _refusal(graph, "it does not end in a join, a layer and a classifier")
    *before, project, classifier = walk.layers
    if project.source.step != "joined" or classifier.source.layer != len(before):
        raise _refusal(graph, "it does not end in a join, a layer and a classifier")
    branches = [walk.layers[i] for i in project.source.joined]
    deep = min(branch.source.layer for branch in branches)
    if any(branch.source.layer != deep for branch in branches) or deep != min(project.source.joined) - 1:
        raise _refusal(graph, "its branches do not all stand on the last map")
    body = walk.layers[: deep + 1]
    like, blocks = _trunk(body, graph)
    record, head = _head(branches, project, classifier, like, graph)
    classes = len(classifier.bias)
    contract = contract_of(walk, told, imagenet=False)
    return Network(
        like,
        blocks,
        contract.input,
        head=head,
        record=replace(record, align_corners=_align_corners(walk, graph)),
        record_classes=classes,
        labels=SEGMENTED.get(classes, ()),
        known=contract.known,
    )


def _trunk(body: list[Layer], graph: Graph) -> tuple[BackboneSpec, list[Block]]:
    """The backbone, cut where the head is attached, with its strides as in the paper's table."""
    outer = outer_layers(body)
    output_stride = math.prod(layer.stride for layer in outer)
    if output_stride not in OUTPUT_STRIDES:
        raise _refusal(graph, f"its backbone has output stride {output_stride}")
    whole = family_of(outer, body, graph.origin)
    blocks = blocks_of(outer, body, whole, graph.origin)
    cut = len(blocks) == len(whole.rows) - 1
    like = segmentation_backbone(whole, output_stride=output_stride, on="second_last" if cut else "last", reduced=False)
    windows = [(layer.stride, layer.dilation) for layer in outer if layer.kernel > 1]
    for dilate_strided_row in (False, True):
        like = replace(like, dilate_strided_row=dilate_strided_row)
        if len(blocks) == len(like.rows) and _windows(like) == windows:
            return like, [replace(block, stride=row.stride) for block, row in zip(blocks, like.rows, strict=True)]
    raise _refusal(graph, f"its strides and dilations are not those of {whole.name} at output stride {output_stride}")


def _windows(like: BackboneSpec) -> list[tuple[int, int]]:
    """Stride and dilation of every row with a kernel."""
    return [
        (place.stride, place.dilation) for place in places(like) if not (isinstance(place.row, Conv) and place.row.kernel == 1)
    ]


def _head(
    branches: Sequence[Layer], project: Layer, classifier: Layer, like: BackboneSpec, graph: Graph
) -> tuple[DeepLabHead, dict[str, Tensor]]:
    pooling = [i for i, branch in enumerate(branches) if branch.source.step == "pooled"]
    point = [i for i, branch in enumerate(branches) if branch.source.step == "output" and branch.kernel == 1]
    atrous = sorted((i for i in range(len(branches)) if i not in pooling + point), key=lambda i: branches[i].dilation)
    filters = len(project.bias)
    wrong = [branch for branch in (*branches, project) if branch.activation != "relu" or len(branch.bias) != filters]
    if len(pooling) != 1 or len(point) != 1 or wrong or any(branches[i].depthwise for i in atrous):
        raise _refusal(graph, "its branches are not 1 x 1, atrous 3 x 3 and pooling, each with ReLU")
    ours = ["point", *(f"atrous.{i}" for i in range(len(atrous))), "pooling"]
    order = point + atrous + pooling
    head: dict[str, Tensor] = {}
    for name, i in zip(ours, order, strict=True):
        head |= normed(name, branches[i], like)
    head |= normed("project", project, like)
    parts = torch.split(head["project.conv.weight"], filters, 1)  # the file concatenates the branches in another order
    head["project.conv.weight"] = torch.cat([parts[i] for i in order], 1)
    record = DeepLabHead(
        filters=filters,
        rates=tuple(branches[i].dilation for i in atrous),
        norm_eps=like.norm_eps,
        norm_momentum=like.norm_momentum,
    )
    return record, head | bare("classifier", classifier)


def _align_corners(walk: Walk, graph: Graph) -> bool:
    """Whether corners are aligned when the logits are upsampled, in the file or by the decoder."""
    for resize in walk.resizes:
        if not resize.align_corners and not resize.half_pixel_centers:
            raise _refusal(graph, "it enlarges maps from their upper left corners, which shifts them")
    return any(resize.align_corners for resize in walk.resizes)


def _refusal(graph: Graph, why: str) -> WeightsError:
    return WeightsError(
        f"'{graph.origin}' is not a MobileNet segmentation network that can be converted: {why}",
        hint="DeepLabv3 and R-ASPP on MobileNetV1, V2, V3 and MobilenetEdgeTPU can",
    )
