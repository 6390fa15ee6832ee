"""torchvision's `ssdlite320_mobilenet_v3_large`, with its last block at half or full width."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from torch import Tensor

from mobilenets.errors import WeightsError
from mobilenets.specs.families import backbone
from mobilenets.specs.model import HALF, InputContract
from mobilenets.specs.ssd import SsdHead, detection_backbone, detection_maps, ssd_anchors, strides_of
from mobilenets.weights.assemble import Network, Tensors
from mobilenets.weights.torchvision.classify import NETWORKS, blocks_of

CONTRACT = InputContract(size=320, mean=HALF, std=HALF, resize="sample", crop=1.0)
ANCHORS = ssd_anchors(smallest=0)
NORM = (1e-3, 0.03)  # batch norms of backbone and head: epsilon, momentum
COCO = 90
_FINE, _COARSE, _EXTRA = "backbone.features.0.", "backbone.features.1.", "backbone.extra."
_SCORES, _OFFSETS = "head.classification_head.module_list.", "head.regression_head.module_list."
_LAYERS = ("reduce", "depthwise", "expand")


def read(state: Mapping[str, Tensor], origin: str) -> Network:
    """The network in a torchvision state dict; settings that it does not contain are those of torchvision's builder.

    Args:
        state: tensors by torchvision's names.
        origin: the file, for messages.

    Raises:
        WeightsError: its backbone is not torchvision's MobileNetV3, or it has other anchors.
    """
    cut = max(Tensors(state, origin).numbers(_FINE))  # the row whose expansion is the first feature map
    tensors = Tensors({_as_in_classifiers(name, cut): tensor for name, tensor in state.items()}, origin)
    count = len(tensors.numbers("features."))
    name = NETWORKS.get(count, ("", 0.0, 0.0))[0]
    if not name.startswith("mobilenet_v3"):
        raise WeightsError(f"'{origin}' has {count} features, none of torchvision's MobileNetV3 has")
    like = detection_backbone(backbone(name, padding="symmetric", norm_eps=NORM[0], norm_momentum=NORM[1]))
    blocks = blocks_of(tensors, like)
    extras = tensors.numbers(_EXTRA)
    head: dict[str, Tensor] = {}
    for i in extras:
        for j, layer in enumerate(_LAYERS):
            head |= tensors.conv(f"extras.{i}.{layer}", f"{_EXTRA}{i}.{j}.0", f"{_EXTRA}{i}.{j}.1")
    for ours, theirs in (("logits", _SCORES), ("offsets", _OFFSETS)):
        for i in tensors.numbers(theirs):
            head |= tensors.conv(f"{ours}.{i}.depthwise", f"{theirs}{i}.0.0", f"{theirs}{i}.0.1")
            head |= {f"{ours}.{i}.predict.{part}": tensors.take(f"{theirs}{i}.1.{part}") for part in ("weight", "bias")}
    tensors.done()
    per_position = [
        len(bias) // 4 for name, bias in head.items() if name.startswith("offsets.") and name.endswith("predict.bias")
    ]
    if per_position != [len(each) for each in ANCHORS]:
        raise WeightsError(
            f"'{origin}' has {per_position} anchors per position of its maps; torchvision has {len(ANCHORS[0])} on each"
        )
    maps = detection_maps(like)
    channels = tuple(len(head[f"extras.{i}.expand.norm.bias"]) for i in extras)
    record = SsdHead(
        maps=maps,
        strides=strides_of(like, maps, len(channels)),
        anchors=ANCHORS,
        extras=channels,
        clip=True,
        score_threshold=0.001,
        iou=0.55,
        detections=300,
        candidates=300,
        norm_eps=NORM[0],
        norm_momentum=NORM[1],
    )
    classes = len(head["logits.0.predict.bias"]) // per_position[0] - 1
    return Network(like, blocks, CONTRACT, head=head, record=record, record_classes=classes, labels=_coco(classes))


def _as_in_classifiers(name: str, cut: int) -> str:
    """A tensor's name as in torchvision's classifiers; the detector splits the features in two, inside a block."""
    for lead, first in ((_FINE, 0), (_COARSE, cut)):
        number, _, rest = name.removeprefix(lead).partition(".")
        if name.startswith(lead):
            row = first + int(number)
            inner = "" if row != cut else "block.0." if lead == _FINE else "block."
            return f"features.{row}.{inner}{rest}"
    return name


def _coco(classes: int) -> tuple[str, ...]:
    """The names of COCO's 90 category numbers, ten of which are unused; the background is not a label."""
    if classes != COCO:
        return ()
    try:
        return tuple(importlib.import_module("torchvision.models._meta")._COCO_CATEGORIES[1:])
    except (ImportError, AttributeError):
        return ()  # torchvision lacks this list here; numbers will do
