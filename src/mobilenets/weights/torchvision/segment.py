"""torchvision's segmentation networks: LR-ASPP and DeepLabv3 on a dilated MobileNetV3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from mobilenets.errors import WeightsError
from mobilenets.specs.deeplab import DeepLabHead, aspp_rates
from mobilenets.specs.families import backbone
from mobilenets.specs.lraspp import LrasppHead
from mobilenets.specs.model import IMAGENET_MEAN, IMAGENET_STD, Head, InputContract
from mobilenets.specs.segment import segmentation_backbone
from mobilenets.weights.assemble import Network, Tensors
from mobilenets.weights.labels import PASCAL_VOC
from mobilenets.weights.torchvision.classify import NETWORKS, blocks_of

CONTRACT = InputContract(size=520, mean=IMAGENET_MEAN, std=IMAGENET_STD, resize="letterbox", crop=1.0)
"""torchvision resizes the shorter side to 520 px and takes images of any aspect ratio."""
LOW = "s8.first"  # torchvision takes its low-level features after the first row of stride 8
NORM = (1e-5, 0.1)  # batch norms of the heads: epsilon, momentum
DROPOUT = 0.5
OUTPUT_STRIDE = 16
RATES = aspp_rates(8)  # torchvision's rates, whatever the output stride
BACKBONE = "backbone."


def read(state: Mapping[str, Tensor], origin: str) -> Network:
    """The network in a torchvision state dict.

    Args:
        state: tensors by torchvision's names.
        origin: the file, for messages.

    Raises:
        WeightsError: its backbone is not torchvision's MobileNetV3.
    """
    tensors = Tensors({_as_in_classifiers(name): tensor for name, tensor in state.items()}, origin)
    count = len(tensors.numbers("features."))
    name, eps, momentum = NETWORKS.get(count, ("", 0.0, 0.0))
    if not name.startswith("mobilenet_v3"):
        raise WeightsError(f"'{origin}' has {count} features, none of torchvision's MobileNetV3 has")
    like = backbone(name, padding="symmetric", norm_eps=eps, norm_momentum=momentum)
    like = segmentation_backbone(like, output_stride=OUTPUT_STRIDE, on="last", reduced=False)
    blocks = blocks_of(tensors, like)
    record, head = _lraspp(tensors) if tensors.has("classifier.cbr.0.weight") else deeplab_head(tensors)
    tensors.done()
    classes = len(head["low.bias" if "low.bias" in head else "classifier.bias"])
    return Network(
        replace(like, dilate_strided_row=True),
        blocks,
        CONTRACT,
        head=head,
        record=record,
        record_classes=classes,
        labels=PASCAL_VOC if classes == len(PASCAL_VOC) else (),
    )


def deeplab_head(tensors: Tensors) -> tuple[Head, dict[str, Tensor]]:
    """The head under `classifier`, and under `aux_classifier` if present: its description, and its tensors by our names.

    Raises:
        WeightsError: its atrous rates are not torchvision's three.
    """
    branches = "classifier.0.convs."
    *spatial, pooling = tensors.numbers(branches)
    rates = RATES[: len(spatial) - 1]
    if len(spatial) != 1 + len(RATES):
        raise WeightsError(f"'{tensors.origin}' has {len(spatial) - 1} atrous branches; torchvision has {len(RATES)}")
    head = tensors.conv("point", f"{branches}0.0", f"{branches}0.1")
    for i in range(len(rates)):
        head |= tensors.conv(f"atrous.{i}", f"{branches}{i + 1}.0", f"{branches}{i + 1}.1")
    head |= tensors.conv("pooling", f"{branches}{pooling}.1", f"{branches}{pooling}.2")
    head |= tensors.conv("project", "classifier.0.project.0", "classifier.0.project.1")
    head |= tensors.conv("refine", "classifier.1", "classifier.2")
    head |= _layer(tensors, "classifier", "classifier.4")
    auxiliary = ""
    if tensors.has("aux_classifier.0.weight"):
        auxiliary = LOW
        head |= tensors.conv("auxiliary.conv", "aux_classifier.0", "aux_classifier.1")
        head |= _layer(tensors, "auxiliary.classifier", "aux_classifier.4")
    filters = head["point.conv.weight"].shape[0]
    record = DeepLabHead(
        filters=filters,
        rates=rates,
        refines=True,
        dropout=DROPOUT,
        auxiliary=auxiliary,
        norm_eps=NORM[0],
        norm_momentum=NORM[1],
    )
    return record, head


def _lraspp(tensors: Tensors) -> tuple[Head, dict[str, Tensor]]:
    head = tensors.conv("point", "classifier.cbr.0", "classifier.cbr.1")
    head["gate.weight"] = tensors.take("classifier.scale.1.weight")
    for ours, theirs in (("low", "low_classifier"), ("high", "high_classifier")):
        head |= _layer(tensors, ours, f"classifier.{theirs}")
    filters = head["gate.weight"].shape[0]
    return LrasppHead(filters=filters, low=LOW, window=0, norm_eps=NORM[0], norm_momentum=NORM[1]), head


def _layer(tensors: Tensors, ours: str, theirs: str) -> dict[str, Tensor]:
    return {f"{ours}.{part}": tensors.take(f"{theirs}.{part}") for part in ("weight", "bias")}


def _as_in_classifiers(name: str) -> str:
    """A tensor's name as in torchvision's classifiers, where the backbone is called `features`."""
    return f"features.{name.removeprefix(BACKBONE)}" if name.startswith(BACKBONE) else name
