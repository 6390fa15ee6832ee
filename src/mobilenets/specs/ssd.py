"""SSD and SSDLite detectors for any backbone (SSD: arXiv:1512.02325; SSDLite: V2, section 6.2 and V3, section 6.3)."""

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
"""Output channels of the extra layers after the backbone, at width 1."""
RATIOS = (1.0, 2.0, 1 / 2, 3.0, 1 / 3)
SCALES = (0.2, 0.95)
SMALLEST = 0.1
_NARROWEST = 16


@dataclass(frozen=True, slots=True)
class SsdHead:
    """A head that predicts scores and offsets at every anchor of several feature maps.

    The first maps come from the backbone; each extra map after them has half the resolution of the one before.

    Args:
        maps: names of the backbone's feature maps, the finest first.
        strides: input px per px of every map, including the extra maps after the backbone.
        anchors: for every map, the scale and ratio of the anchors at each position. The scale is the square root of the
            anchor's area as a fraction of the input's shorter side; the ratio is width divided by height.
        extras: channels of the extra maps after the backbone.
        separable: whether the 3 x 3 convolutions are depthwise separable (SSDLite) or full (SSD).
        kernel: kernel size of the prediction layers if they are full convolutions; separable ones always use 3.
        clip: whether anchors are limited to the width and height of the input (torchvision).
        variances: factors that the offsets tx ty tw th are multiplied by. The results are relative to the anchor's sides:
            fractions of them for the center, logarithms of the ratio for the size.
        activation: "softmax" over the background class, which comes first, and the labels; or "sigmoid" for each label.
        score_threshold: score that a box must exceed, 0 to 1.
        class_thresholds: a score threshold for each label, fitted on a validation split; empty if there are none.
        iou: overlap at which non-maximum suppression removes a lower-scoring box of the same label.
        detections: maximum number of boxes per image.
        candidates: maximum number of boxes per label, the best ones, that non-maximum suppression considers.
        norm_eps, norm_momentum: settings of the head's batch norms, with momentum in PyTorch's sense.
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
        """The head's name in recipes: "ssdlite" or "ssd"."""
        return "ssdlite" if self.separable else "ssd"

    def fresh(self) -> SsdHead:
        """The same head without the per-label thresholds."""
        return replace(self, class_thresholds=())

    def columns(self, classes: int) -> int:
        """Number of logits per anchor for this number of labels."""
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
        backbone: any network of the family, at any width; its layers after the pooling are left out.
        labels: class names, without a background class.
        size: input size, px: one side of a square, or height and width.
        maps: names of the backbone's maps, the finest first; by default the two that the papers use, see `detection_maps`.
        extras: channels of the extra maps after the backbone; by default `EXTRAS` times the backbone's width.
        anchors: scale and ratio of the anchors of every map; by default `ssd_anchors`.
        reduced: whether the backbone's last block has half the channels (V3, section 6.3; the daggers in its Table 6).
        activation: "softmax", or "sigmoid" for the focal loss.
        contract: supplies the mean, std and interpolation if the weights come with one; otherwise pixels are -1 to 1.

    Raises:
        SpecError: a value is out of range, or the number of maps differs from the number of anchor sets.
        UnknownNameError: the backbone has no map of that name.

    >>> from mobilenets.specs.families import backbone
    >>> spec = ssdlite(backbone("mobilenet_v2"), ["cat", "dog"])
    >>> spec.head.maps, spec.head.strides
    (('s32.expand', 's32'), (16, 32, 64, 128, 256, 512))
    """
    body = detection_backbone(backbone, reduced=reduced)
    names = tuple(maps) or detection_maps(body)
    head = _head(body, names, extras, anchors)
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
    """A backbone with an SSD head of full convolutions, to which the V2 paper compares SSDLite (Table 5).

    Args:
        backbone, labels, size, contract: as for `ssdlite`.
        kernel: kernel size of the prediction layers; TensorFlow's SSD on V1 uses 1.

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
    """The backbone adapted to detection: no layers after the pooling, and map sizes that round up.

    The size of a map is the input size divided by the map's stride, rounded up. Padding "end" therefore becomes "tf". The two
    differ only at odd sizes, which "end" would round down.

    Args:
        reduced: whether the last block has half the channels.
    """
    body = with_reduced_last_block(backbone, expansions="follow") if reduced else backbone
    return replace(body, tail=(), padding="tf" if body.padding == "end" else body.padding)


def detection_maps(backbone: BackboneSpec) -> tuple[str, str]:
    """The two maps that the papers use: the expansion in the first block at the last stride, and the last map.

    If that block has no expansion (V1), the first of the two is the last map at the previous stride.

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
    """Input px per px of each map, given the backbone's output stride; it doubles with every extra map.

    Args:
        maps: names of the backbone's maps.
        extras: number of extra maps after the backbone.

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
    """Scale and ratio of the anchors of each map (SSD, section 2.2), as in TensorFlow's `ssd_anchor_generator`.

    Scales grow linearly from map to map. Each map has one anchor per ratio and another square anchor, whose scale lies between
    the map's own scale and the next.

    Args:
        maps: number of maps.
        scales: scale of the first map and of the last.
        ratios: width divided by height; the first is 1.
        smallest: scale of the first map's square anchor. The first map then has only three anchors: this one, and the second
            and third ratios at the map's own scale. At 0 it has as many anchors as the other maps.

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
    """An input contract that stretches the whole image to the given height and width.

    Args:
        size: one side of a square, or height and width, px.
        channels: number of image channels.
        contract: supplies the mean, std and interpolation; by default pixels are -1 to 1.
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
