"""Detection: the SSD head, its targets and its losses; the counterpart of `runtime/detect.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mobilenets.errors import SpecError
from mobilenets.net.backbone import Backbone
from mobilenets.net.blocks import ConvNorm
from mobilenets.specs.rows import BackboneSpec, feature_maps
from mobilenets.specs.ssd import Scores, SsdHead
from mobilenets.table import Table
from mobilenets.tasks.segment import PooledNorm

BACKGROUND = 0
IGNORED = -1
PRIOR = 0.01
"""Initial score of every label if scores are sigmoids (focal loss, section 4.1)."""
NEGATIVES_AT_LEAST = 3
"""Minimum number of hard negatives per image, however few objects it shows (TensorFlow's `min_negatives_per_image`)."""
_STD = 0.03


class Ssd(nn.Module):
    """Extra layers after the backbone, and two predictors on every map: one for scores and one for offsets.

    Args:
        backbone: the backbone that provides the feature maps.
        head: settings of the head.
        classes: number of labels.

    Raises:
        SpecError: the sizes of the backbone's maps would not match those of the anchors.
        UnknownNameError: the backbone has no map of that name.
    """

    outputs = ("logits", "offsets")

    def __init__(self, backbone: BackboneSpec, head: SsdHead, classes: int) -> None:
        super().__init__()
        if backbone.padding == "end":
            raise SpecError('a detector needs maps whose sizes are rounded up; padding "end" rounds them down')
        self.record = head
        like = replace(backbone, norm_eps=head.norm_eps, norm_momentum=head.norm_momentum)
        known = Table("feature map", feature_maps(backbone))
        channels = [known[name][1] for name in head.maps]
        self.extras = nn.ModuleList()
        for c_out in head.extras:
            self.extras.append(_extra(channels[-1], c_out, head, like))
            channels.append(c_out)
        counts = [len(map_anchors) for map_anchors in head.anchors]
        self.columns = head.columns(classes)
        self.logits = _predictors(channels, [count * self.columns for count in counts], head, like)
        self.offsets = _predictors(channels, [count * 4 for count in counts], head, like)
        for module in self.modules():
            if isinstance(module, ConvNorm):  # the last maps are 1 x 1, and a batch of one image must work
                module.norm = PooledNorm(module.norm.num_features, eps=head.norm_eps, momentum=head.norm_momentum)

    def inputs(self, backbone: Backbone, x: Tensor) -> tuple[Tensor, ...]:
        """The backbone's maps that the head reads, from images, N C H W."""
        return tuple(backbone.maps(x, self.record.maps).values())

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Logits, N A columns, and offsets tx ty tw th, N A 4, in the order of `runtime.anchors`.

        There is one column per label; with softmax, a column for the background comes first.
        """
        all_maps = list(maps)
        for extra in self.extras:
            all_maps.append(extra(all_maps[-1]))
        return _by_anchor(self.logits, all_maps, self.columns), _by_anchor(self.offsets, all_maps, 4)

    def draw(self) -> None:
        """Initialize the weights as TensorFlow and torchvision do, from a normal distribution with standard deviation 0.03.

        Biases start at 0, except that sigmoid scores start at `PRIOR`.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if self.record.activation == "sigmoid":
            for predictor in self.logits:
                assert isinstance(predictor, Predictor)
                assert predictor.predict.bias is not None
                nn.init.constant_(predictor.predict.bias, -math.log((1 - PRIOR) / PRIOR))


class Predictor(nn.Sequential):
    """Predicts values at each position of a map: a 3 x 3 depthwise and a 1 x 1 convolution, or one full convolution.

    Args:
        c_in: channels of the map.
        c_out: number of values per position.
        head: says whether the predictor is separable, and the kernel size if it is full.
        like: the backbone whose padding and batch norm settings apply.
    """

    predict: nn.Conv2d

    def __init__(self, c_in: int, c_out: int, head: SsdHead, like: BackboneSpec) -> None:
        super().__init__()
        if head.separable:
            self.depthwise = ConvNorm(c_in, c_in, 3, like=like, activation="relu6", depthwise=True)
        kernel = 1 if head.separable else head.kernel
        self.predict = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2)


class Targets(NamedTuple):
    """The target at every anchor of an image, or of a batch, in which case N comes before A.

    Args:
        classes: `BACKGROUND`, `IGNORED` or 1 + the label, A.
        offsets: tx ty tw th to the matched box, A x 4; 0 if no box matches.
    """

    classes: Tensor
    offsets: Tensor


def match(
    boxes: Tensor,
    labels: Tensor,
    anchors: Tensor,
    *,
    variances: Sequence[float],
    threshold: float = 0.5,
    ignored: Tensor | None = None,
) -> Targets:
    """Targets that match each anchor to the box it overlaps most, if they overlap by the threshold (SSD, section 2.2).

    In addition, every box gets an anchor of its own, however small the overlap. If two boxes compete for the same anchor, the
    one that overlaps it more gets it, and the other takes its next best.

    Args:
        boxes: x0 y0 x1 y1 in px of the input, K x 4; K may be 0. Boxes without area match nothing.
        labels: label of each box, K.
        anchors: x0 y0 x1 y1, A x 4, as returned by `runtime.anchors`.
        variances: the head's variances.
        threshold: minimum intersection over union, 0 to 1.
        ignored: which boxes are excluded from training, K: difficult ones and crowds. An anchor is `IGNORED` if the fraction of
            its area inside such a box reaches the threshold, or if it overlaps such a box most, unless another box matches it.
    """
    learned = torch.ones_like(labels, dtype=torch.bool) if ignored is None else ~ignored
    classes = torch.full((len(anchors),), BACKGROUND, dtype=torch.int64, device=anchors.device)
    if ignored is not None and bool(ignored.any()):
        passed = boxes[ignored].to(anchors.dtype)
        inside = _shared(passed, anchors)  # K A
        classes[(inside / _areas(anchors)).amax(0) >= threshold] = IGNORED
        most, nearest = _overlaps(inside, passed, anchors).max(1)  # K
        classes[nearest[most > 0]] = IGNORED
    boxes, labels = boxes[learned].to(anchors.dtype), labels[learned]
    if not len(boxes):
        return Targets(classes, torch.zeros_like(anchors))
    overlaps = _overlaps(_shared(boxes, anchors), boxes, anchors)  # K A
    most, owner = overlaps.max(0)  # A
    owner[most < threshold] = -1
    own = _own_anchors(overlaps)
    given = own >= 0
    owner[own[given]] = torch.arange(len(boxes), device=owner.device)[given]
    matched = owner >= 0
    classes[matched] = labels[owner[matched]].to(torch.int64) + 1
    offsets = torch.zeros_like(anchors)
    offsets[matched] = encode(boxes[owner[matched]], anchors[matched], variances)
    return Targets(classes, offsets)


def encode(boxes: Tensor, anchors: Tensor, variances: Sequence[float]) -> Tensor:
    """Offsets tx ty tw th that turn anchors into boxes (SSD, eq. 2), N x 4; `runtime.detect.boxes_of` decodes them.

    Args:
        boxes: x0 y0 x1 y1, N x 4, with positive area.
        anchors: x0 y0 x1 y1, N x 4.
        variances: divisor of each offset.
    """
    sides, box_sides = anchors[:, 2:] - anchors[:, :2], boxes[:, 2:] - boxes[:, :2]
    moved = (boxes[:, :2] + box_sides / 2 - anchors[:, :2] - sides / 2) / sides
    return torch.cat([moved, (box_sides / sides).log()], 1) / torch.tensor(variances, dtype=sides.dtype, device=sides.device)


def loss(
    logits: Tensor,
    offsets: Tensor,
    targets: Targets,
    weights: Tensor,
    *,
    activation: Scores,
    negatives: float = 3.0,
    box_share: float = 1.0,
    over: Tensor | None = None,
) -> Tensor:
    """Cross entropy of the scores plus smooth L1 of the offsets, divided by the number of matched anchors.

    Only the background anchors with the highest loss count, the hard negatives; there are `negatives` of them for each matched
    anchor (SSD, section 2.2).

    Args:
        logits: N A columns.
        offsets: N A 4.
        targets: targets of the batch.
        weights: weight of each image, N.
        activation: activation of the head; with "sigmoid", every label has its own binary cross entropy.
        negatives: number of background anchors for each matched one.
        box_share: weight of the offset loss.
        over: divisor of the sum; by default the number of matched anchors, see `matched_anchors`, but at least 1.
    """
    logits = logits.float()
    if activation == "softmax":
        score_loss = functional.cross_entropy(logits.transpose(1, 2), targets.classes.clamp(min=0), reduction="none")  # N A
    else:
        wanted = _one_hot(targets.classes, logits)
        score_loss = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(2)  # N A
    counted = (targets.classes > BACKGROUND) | hard_negatives(score_loss.detach(), targets.classes, negatives)
    return _mean(score_loss * counted, offsets, targets, weights, box_share, over)


def focal_loss(
    logits: Tensor,
    offsets: Tensor,
    targets: Targets,
    weights: Tensor,
    *,
    gamma: float = 2.0,
    alpha: float = 0.75,
    box_share: float = 1.0,
    over: Tensor | None = None,
) -> Tensor:
    """Focal loss of sigmoid scores at every anchor plus smooth L1 of the offsets, divided by the number of matched anchors.

    Args:
        logits: N A labels.
        offsets: N A 4.
        targets: targets of the batch.
        weights: weight of each image, N.
        gamma, alpha: parameters of the focal loss (arXiv:1708.02002, eq. 5); the defaults are from TensorFlow's SSDLite on V3.
        box_share: weight of the offset loss.
        over: divisor of the sum; by default the number of matched anchors, see `matched_anchors`, but at least 1.
    """
    from torchvision.ops import sigmoid_focal_loss  # a checkpoint that predicts should not wait for torchvision

    logits = logits.float()
    score_loss = sigmoid_focal_loss(logits, _one_hot(targets.classes, logits), alpha=alpha, gamma=gamma).sum(2)  # N A
    return _mean(score_loss * (targets.classes != IGNORED), offsets, targets, weights, box_share, over)


def matched_anchors(targets: Targets, weights: Tensor) -> Tensor:
    """The number of anchors that match a box, in images whose weight is above 0.

    Args:
        targets: targets of the batch.
        weights: weight of each image, N.
    """
    return (targets.classes > BACKGROUND)[weights > 0].sum()


def hard_negatives(losses: Tensor, classes: Tensor, negatives: float) -> Tensor:
    """A mask of the background anchors with the highest loss in their image, N A, at least three per image.

    Args:
        losses: loss of each anchor, N A.
        classes: classes of the `Targets`, N A.
        negatives: number of background anchors for each matched anchor.
    """
    background = classes == BACKGROUND
    order = losses.masked_fill(~background, -torch.inf).argsort(1, descending=True)
    rank = order.argsort(1)
    wanted = (negatives * (classes > BACKGROUND).sum(1, keepdim=True)).clamp(min=NEGATIVES_AT_LEAST)  # N 1
    return background & (rank < wanted)


def _mean(
    score_loss: Tensor, offsets: Tensor, targets: Targets, weights: Tensor, box_share: float, over: Tensor | None
) -> Tensor:
    """The sum over anchors, including the offset loss, divided by the number of matched anchors."""
    matched = targets.classes > BACKGROUND
    distance = functional.smooth_l1_loss(offsets.float(), targets.offsets, reduction="none").sum(2)  # N A
    of_image = score_loss.sum(1) + box_share * (distance * matched).sum(1)  # N
    return (of_image * weights).sum() / (matched_anchors(targets, weights).clamp(min=1) if over is None else over)


def _one_hot(classes: Tensor, logits: Tensor) -> Tensor:
    """1 in the column of the anchor's label, N A labels."""
    return functional.one_hot(classes.clamp(min=0), logits.shape[2] + 1)[..., 1:].to(logits.dtype)


def _own_anchors(overlaps: Tensor) -> Tensor:
    """The index of an exclusive anchor for every box, K, given the overlaps, K A; -1 if no anchor is left for a box."""
    free = overlaps.clone()
    own = torch.full((len(overlaps),), -1, dtype=torch.int64, device=overlaps.device)
    while True:
        wish, anchor = free.max(1)  # K
        asking = (own < 0) & (wish > 0)
        if not bool(asking.any()):
            return own
        bids = torch.zeros_like(free)
        bids[asking, anchor[asking]] = wish[asking]
        highest, winner = bids.max(0)  # A
        taken = highest > 0
        own[winner[taken]] = taken.nonzero().squeeze(1)
        free[:, taken] = 0


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)


def _overlaps(shared: Tensor, boxes: Tensor, anchors: Tensor) -> Tensor:
    """Intersection over union of each box with each anchor, K A, given the area that they share."""
    return shared / (_areas(boxes)[:, None] + _areas(anchors) - shared)


def _shared(boxes: Tensor, anchors: Tensor) -> Tensor:
    """The area that each box shares with each anchor, K A."""
    sides = torch.minimum(boxes[:, None, 2:], anchors[:, 2:]) - torch.maximum(boxes[:, None, :2], anchors[:, :2])
    return sides.clamp(min=0).prod(2)


def _extra(c_in: int, c_out: int, head: SsdHead, like: BackboneSpec) -> nn.Sequential:
    """A 1 x 1 convolution to half of `c_out`, then a 3 x 3 at stride 2: depthwise followed by a 1 x 1, or full."""
    narrow = c_out // 2
    layers = nn.Sequential()
    layers.reduce = ConvNorm(c_in, narrow, 1, like=like, activation="relu6")
    if head.separable:
        layers.depthwise = ConvNorm(narrow, narrow, 3, like=like, activation="relu6", stride=2, depthwise=True)
        layers.expand = ConvNorm(narrow, c_out, 1, like=like, activation="relu6")
    else:
        layers.expand = ConvNorm(narrow, c_out, 3, like=like, activation="relu6", stride=2)
    return layers


def _predictors(channels: Sequence[int], numbers: Sequence[int], head: SsdHead, like: BackboneSpec) -> nn.ModuleList:
    return nn.ModuleList(Predictor(c, n, head, like) for c, n in zip(channels, numbers, strict=True))


def _by_anchor(predictors: nn.ModuleList, maps: Sequence[Tensor], columns: int) -> Tensor:
    """The predictions on all maps, N A columns."""
    outputs = [predictor(x) for predictor, x in zip(predictors, maps, strict=True)]  # N (anchors columns) h w
    return torch.cat([x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, columns) for x in outputs], 1)
