"""SSD and SSDLite, detectors on any backbone (SSD: arXiv:1512.02325; SSDLite: V2, section 6.2 and V3, section 6.3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, get_args

from msgspec import Meta

from mobilenets.documents import check_ranges
from mobilenets.errors import SpecError
from mobilenets.specs.model import HALF, InputContract, ModelSpec, Task
from mobilenets.specs.rows import BackboneSpec, Channels, Epsilon, Kernel, Share, deepest_map, feature_maps, places
from mobilenets.specs.segment import with_reduced_last_block
from mobilenets.table import Table

Scores = Literal["softmax", "sigmoid"]
Scale = Annotated[float, Meta(gt=0, le=100)]
Ratio = Annotated[float, Meta(gt=0, le=1000)]
Variance = Annotated[float, Meta(gt=0, le=1000)]
Anchor = tuple[Scale, Ratio]

EXTRAS = (512, 256, 256, 128)
"""Channels of the layers behind the backbone, at width 1."""
RATIOS = (1.0, 2.0, 1 / 2, 3.0, 1 / 3)
SCALES = (0.2, 0.95)
SMALLEST = 0.1
_NARROWEST = 16


@dataclass(frozen=True, slots=True)
class SsdHead:
    """Scores and offsets at every anchor of several maps: some of the backbone's, then each half as fine as the one before.

    Args:
        maps: the backbone's maps, the finest first.
        strides: input px per px of every map, those behind the backbone too.
        anchors: of every map, scale and ratio of the anchors at each place. The scale is a share of the input's shorter side,
            the square root of the anchor's area; the ratio is width by height.
        extras: channels of the maps behind the backbone.
        separable: whether 3 x 3 convolutions are depthwise separable (SSDLite) or full (SSD).
        kernel: side of the full convolutions that predict; the separable ones have 3.
        clip: whether no anchor is wider or higher than the input (torchvision).
        variances: what the offsets tx ty tw th are multiplied by, which makes them shares and logarithms of the anchor's sides.
        activation: "softmax" over a background class, which is first, and the labels; or "sigmoid" of each label.
        score_threshold: a box must score more, 0 to 1.
        class_thresholds: the same for each label, fitted on a validation split; empty for none.
        iou: overlap from which on a box takes away others of its label.
        detections: boxes of an image, at most.
        candidates: boxes of a label that are looked at, at most, the best ones.
        norm_eps, norm_momentum: of the head's batch norms, momentum in PyTorch's sense.
    """

    task: ClassVar[Task] = "detect"
    maps: Annotated[tuple[str, ...], Meta(max_length=100)]
    strides: tuple[Annotated[int, Meta(ge=1, le=2**15)], ...]
    anchors: tuple[Annotated[tuple[Anchor, ...], Meta(max_length=1000)], ...]
    extras: Annotated[tuple[Channels, ...], Meta(max_length=100)] = EXTRAS
    separable: bool = True
    kernel: Kernel = 3
    clip: bool = False
    variances: tuple[Variance, Variance, Variance, Variance] = (0.1, 0.1, 0.2, 0.2)
    activation: Scores = "softmax"
    score_threshold: Share = 0.001
    class_thresholds: tuple[Share, ...] = ()
    iou: Share = 0.6
    detections: Annotated[int, Meta(ge=1, le=10**6)] = 100
    candidates: Annotated[int, Meta(ge=1, le=10**6)] = 300
    norm_eps: Epsilon = 1e-3
    norm_momentum: Share = 0.03

    def __post_init__(self) -> None:
        count = len(self.maps) + len(self.extras)
        if not self.maps or len(self.strides) != count or len(self.anchors) != count:
            raise SpecError(
                f"{len(self.maps)} maps of the backbone and {len(self.extras)} behind it need as many strides and anchors, "
                f"not {len(self.strides)} and {len(self.anchors)}"
            )
        if not all(self.anchors):
            raise SpecError(f"map {self.anchors.index(())} has no anchors")
        positive = (*self.strides, *self.extras, self.kernel, self.detections, self.candidates, *self.variances)
        if not all(value > 0 for value in (*positive, *(side for each in self.anchors for anchor in each for side in anchor))):
            raise SpecError("strides, channels, counts, variances, scales and ratios of a detector must be positive")
        if self.kernel % 2 == 0:
            raise SpecError(f"a kernel of {self.kernel} has no center")
        if self.activation not in get_args(Scores):
            raise SpecError(f"scores by '{self.activation}' are not one of {', '.join(get_args(Scores))}")
        for share in (self.score_threshold, *self.class_thresholds, self.iou):
            if not 0 <= share <= 1:
                raise SpecError(f"threshold {share} is not between 0 and 1")
        check_ranges(self, SpecError)

    @property
    def name(self) -> str:
        """What recipes call it: "ssdlite" or "ssd"."""
        return "ssdlite" if self.separable else "ssd"

    def fresh(self) -> SsdHead:
        """Without the thresholds of the labels."""
        return replace(self, class_thresholds=())

    def columns(self, classes: int) -> int:
        """Logits at an anchor, for so many labels."""
        return classes + (self.activation == "softmax")


def ssdlite(
    backbone: BackboneSpec,
    labels: Sequence[str],
    *,
    size: int | tuple[int, int] = 320,
    maps: Sequence[str] = (),
    extras: Sequence[int] | None = None,
    anchors: Sequence[Sequence[Anchor]] = (),
    reduced: bool = False,
    activation: Scores = "softmax",
    contract: InputContract | None = None,
) -> ModelSpec:
    """A backbone with an SSDLite head: every 3 x 3 convolution of the head is depthwise separable (V2, section 6.2).

    Args:
        backbone: any of the family, at any width; its layers behind the pooling are left out.
        labels: class names, without a background.
        size: of the input, px: a side, or height and width.
        maps: the backbone's maps, the finest first; by default the two of the papers, see `detection_maps`.
        extras: channels of the maps behind the backbone; by default `EXTRAS` times the backbone's width.
        anchors: of every map, scale and ratio; by default `ssd_anchors`.
        reduced: whether the backbone's last block has half the channels (V3, section 6.3; the daggers of its Table 6).
        activation: "softmax", or "sigmoid" for the focal loss.
        contract: mean, std and interpolation are taken from it, for weights that come with one; else pixels are -1 to 1.

    Raises:
        SpecError: a value is out of range, or numbers of maps and anchors disagree.
        UnknownNameError: the backbone has no map of that name.

    >>> from mobilenets.specs.families import backbone
    >>> spec = ssdlite(backbone("mobilenet_v2"), ["cat", "dog"])
    >>> spec.head.maps, spec.head.strides
    (('s32.expand', 's32'), (16, 32, 64, 128, 256, 512))
    """
    body = detection_backbone(backbone, reduced=reduced)
    found = tuple(maps) or detection_maps(body)
    head = _head(body, found, extras, anchors)
    return ModelSpec(
        body,
        tuple(labels),
        input=detection_input(size, body.in_channels, contract),
        head=replace(head, activation=activation),
    )


def ssd(
    backbone: BackboneSpec,
    labels: Sequence[str],
    *,
    size: int | tuple[int, int] = 320,
    kernel: int = 3,
    contract: InputContract | None = None,
) -> ModelSpec:
    """A backbone with an SSD head of full convolutions, which the V2 paper compares SSDLite with (Table 5).

    Args:
        backbone, labels, size, contract: as for `ssdlite`.
        kernel: side of the convolutions that predict; TensorFlow's SSD on V1 has 1.

    Raises:
        SpecError: a value is out of range.
    """
    body = detection_backbone(backbone)
    head = _head(body, detection_maps(body), None, ())
    return ModelSpec(
        body,
        tuple(labels),
        input=detection_input(size, body.in_channels, contract),
        head=replace(head, separable=False, kernel=kernel),
    )


def detection_backbone(backbone: BackboneSpec, *, reduced: bool = False) -> BackboneSpec:
    """A backbone as a detector takes it: nothing behind the pooling, maps as large as their strides say, rounded up.

    Padding "end" becomes "tf": the two differ at odd sizes alone, which "end" would round down.

    Args:
        reduced: whether its last block has half the channels.
    """
    body = with_reduced_last_block(backbone, expansions="follow") if reduced else backbone
    return replace(body, tail=(), padding="tf" if body.padding == "end" else body.padding)


def detection_maps(backbone: BackboneSpec) -> tuple[str, str]:
    """The two maps of the papers: the expansion in the first block of the last stride, and the last map.

    Where that block has no expansion (V1) it is the last map at the stride above.

    >>> from mobilenets.specs.families import backbone
    >>> detection_maps(backbone("mobilenet_v1")), detection_maps(backbone("mobilenet_v3_small"))
    (('s16', 's32'), ('s32.expand', 's32'))
    """
    last = deepest_map(backbone)
    names = list(feature_maps(backbone))
    finer = f"{last}.expand"
    if finer not in names:
        finer = [name for name in names if name.count(".") == 0 and name != last][-1]
    return finer, last


def strides_of(backbone: BackboneSpec, maps: Sequence[str], extras: int) -> tuple[int, ...]:
    """Input px per px of each map, as the backbone runs with its output stride; it doubles with every one behind it.

    Args:
        maps: of the backbone, by name.
        extras: how many there are behind it.

    Raises:
        UnknownNameError: the backbone has no map of that name.
    """
    known = Table("feature map", feature_maps(backbone))
    around = []
    stride = 1
    for place in places(backbone):
        around.append((stride, stride * place.stride))
        stride *= place.stride
    own = [around[known[name][0]][0 if name.endswith(".expand") else 1] for name in maps]
    return (*own, *(own[-1] * 2 ** (i + 1) for i in range(extras)))


def ssd_anchors(
    maps: int = 6,
    *,
    scales: tuple[float, float] = SCALES,
    ratios: Sequence[float] = RATIOS,
    smallest: float = SMALLEST,
) -> tuple[tuple[Anchor, ...], ...]:
    """Scale and ratio of the anchors of each map (SSD, section 2.2), as TensorFlow's `ssd_anchor_generator` makes them.

    Scales grow evenly from map to map. A map has one anchor of each ratio, and one more square, between its scale and the next.

    Args:
        maps: how many.
        scales: of the first map and of the last.
        ratios: width by height; the first is 1.
        smallest: scale of the first map's square anchor, with which it has three anchors alone: this one and the next two
            ratios at the map's own scale. At 0 it has as many as the others.

    >>> [len(each) for each in ssd_anchors()], ssd_anchors()[0]
    ([3, 6, 6, 6, 6, 6], ((0.1, 1.0), (0.2, 2.0), (0.2, 0.5)))
    """
    low, high = scales
    steps = [low + (high - low) * k / max(maps - 1, 1) for k in range(maps)] + [1.0 if maps > 1 else high]
    full = [
        ((scale, ratios[0]), (math.sqrt(scale * larger), 1.0), *((scale, ratio) for ratio in ratios[1:]))
        for scale, larger in pairwise(steps)
    ]
    if smallest:
        full[0] = ((smallest, 1.0), *((low, ratio) for ratio in ratios[1:3]))
    return tuple(full)


def detection_input(size: int | tuple[int, int], channels: int, contract: InputContract | None = None) -> InputContract:
    """The whole image, stretched to height and width.

    Args:
        size: a side, or height and width, px.
        channels: of the image.
        contract: whose mean, std and interpolation are kept; by default pixels are -1 to 1.
    """
    height, wide = (size, size) if isinstance(size, int) else size
    half = HALF if channels == len(HALF) else HALF[:1]
    like = InputContract(channels=channels, mean=half, std=half) if contract is None else contract
    return replace(like, resize="stretch", crop=1.0).shaped(height, wide)


def _head(
    backbone: BackboneSpec, maps: tuple[str, ...], extras: Sequence[int] | None, anchors: Sequence[Sequence[Anchor]]
) -> SsdHead:
    behind = tuple(max(int(c * backbone.width), _NARROWEST) for c in EXTRAS) if extras is None else tuple(extras)
    strides = strides_of(backbone, maps, len(behind))
    shapes = tuple(tuple(each) for each in anchors) or ssd_anchors(len(strides))
    return SsdHead(maps=maps, strides=strides, anchors=shapes, extras=behind)
