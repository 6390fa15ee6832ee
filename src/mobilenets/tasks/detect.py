"""Detection: the SSD head, its targets and its losses; partner of `runtime/detect.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

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
"""Score that every label has at first where each has a sigmoid of its own (focal loss, section 4.1)."""
NEGATIVES_AT_LEAST = 3
"""Of an image, however few objects it shows (TensorFlow's `min_negatives_per_image`)."""
_STD = 0.03


class Ssd(nn.Module):
    """Extra layers behind the backbone, and on every map two predictors: of scores and of offsets.

    Args:
        backbone: what it stands on.
        head: its settings.
        classes: how many labels.

    Raises:
        SpecError: the backbone's maps would not have the size of the anchors'.
        UnknownNameError: the backbone has no map of a name.
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
        counts = [len(each) for each in head.anchors]
        self.columns = head.columns(classes)
        self.logits = _predictors(channels, [count * self.columns for count in counts], head, like)
        self.offsets = _predictors(channels, [count * 4 for count in counts], head, like)
        for module in self.modules():
            if isinstance(module, ConvNorm):  # the last maps are 1 x 1: a batch of one image must do
                module.norm = PooledNorm(module.norm.num_features, eps=head.norm_eps, momentum=head.norm_momentum)

    def inputs(self, backbone: Backbone, x: Tensor) -> tuple[Tensor, ...]:
        """The backbone's maps that the head stands on, of images N C H W."""
        return tuple(backbone.maps(x, self.record.maps).values())

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Logits, N A columns, and offsets tx ty tw th, N A 4, in the order of `runtime.anchors`.

        There is a column for every label, and for softmax one before them for the background.
        """
        every = list(maps)
        for extra in self.extras:
            every.append(extra(every[-1]))
        return _by_anchor(self.logits, every, self.columns), _by_anchor(self.offsets, every, 4)

    def draw(self) -> None:
        """Fresh weights: a normal of 0.03 as in TensorFlow and torchvision; sigmoid scores begin at `PRIOR`."""
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
    """From a map to numbers at each of its places: a 3 x 3 depthwise and a 1 x 1 convolution, or one full convolution.

    Args:
        c_in: channels of the map.
        c_out: numbers at a place.
        head: whether it is separable, and the full convolution's kernel.
        like: padding and norm settings.
    """

    predict: nn.Conv2d

    def __init__(self, c_in: int, c_out: int, head: SsdHead, like: BackboneSpec) -> None:
        super().__init__()
        if head.separable:
            self.depthwise = ConvNorm(c_in, c_in, 3, like=like, activation="relu6", depthwise=True)
        kernel = 1 if head.separable else head.kernel
        self.predict = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2)


class Targets(NamedTuple):
    """What a detector should say at every anchor of an image, or of a batch (then N comes before A).

    Args:
        classes: `BACKGROUND`, `IGNORED` or 1 + the label, A.
        offsets: tx ty tw th to the matched box, A x 4; 0 without one.
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
    """What each anchor should find (SSD, section 2.2): the box that it overlaps most, if by at least the threshold.

    Besides, every box has an anchor to itself, however small the overlap. If two boxes want the same one, the one that overlaps
    it more has it, and the other takes its next best.

    Args:
        boxes: x0 y0 x1 y1 in px of the input, K x 4; K may be 0. Boxes without area match nothing.
        labels: of each box, K.
        anchors: x0 y0 x1 y1, A x 4, as `runtime.anchors` gives them.
        variances: of the head.
        threshold: intersection over union, 0 to 1.
        ignored: which boxes are not to be learned, K: difficult ones and crowds. Anchors that have at least the threshold of
            their area in one are `IGNORED`, and the one that overlaps it most, unless another box matches them.
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
    """Offsets tx ty tw th that turn anchors into boxes (SSD, eq. 2), N x 4; `runtime.detect.boxes_of` reads them.

    Args:
        boxes: x0 y0 x1 y1, N x 4, with an area.
        anchors: x0 y0 x1 y1, N x 4.
        variances: what each offset is divided by.
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
    """Cross entropy of the scores with hard negatives, plus smooth L1 of the offsets, by the number of matched anchors.

    Of the anchors on the background only those with the highest loss count: so many for each matched one (SSD, section 2.2).

    Args:
        logits: N A columns.
        offsets: N A 4.
        targets: of the batch.
        weights: of each image, N.
        activation: of the head; with "sigmoid" every label has a binary cross entropy.
        negatives: anchors on the background for each matched one.
        box_share: weight of the offsets' part.
        over: what the sum is divided by; by default the matched anchors, as `matched_anchors` counts them, at least 1.
    """
    logits = logits.float()
    if activation == "softmax":
        each = functional.cross_entropy(logits.transpose(1, 2), targets.classes.clamp(min=0), reduction="none")  # N A
    else:
        wanted = _one_hot(targets.classes, logits)
        each = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(2)  # N A
    counted = (targets.classes > BACKGROUND) | hard_negatives(each.detach(), targets.classes, negatives)
    return _mean(each * counted, offsets, targets, weights, box_share, over)


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
    """Focal loss of sigmoid scores at every anchor, plus smooth L1 of the offsets, by the number of matched anchors.

    Args:
        logits: N A labels.
        offsets: N A 4.
        targets: of the batch.
        weights: of each image, N.
        gamma, alpha: of the focal loss (arXiv:1708.02002, eq. 5); by default those of TensorFlow's SSDLite on V3.
        box_share: weight of the offsets' part.
        over: what the sum is divided by; by default the matched anchors, as `matched_anchors` counts them, at least 1.
    """
    logits = logits.float()
    each = sigmoid_focal_loss(logits, _one_hot(targets.classes, logits), alpha=alpha, gamma=gamma).sum(2)  # N A
    return _mean(each * (targets.classes != IGNORED), offsets, targets, weights, box_share, over)


def matched_anchors(targets: Targets, weights: Tensor) -> Tensor:
    """How many anchors match a box, in the images that count.

    Args:
        targets: of the batch.
        weights: of each image, N.
    """
    return (targets.classes > BACKGROUND)[weights > 0].sum()


def hard_negatives(losses: Tensor, classes: Tensor, negatives: float) -> Tensor:
    """Which anchors on the background are worst in their image, N A: so many for each matched one, at least three.

    Args:
        losses: of each anchor, N A.
        classes: of `Targets`, N A.
        negatives: for each matched anchor.
    """
    background = classes == BACKGROUND
    order = losses.masked_fill(~background, -torch.inf).argsort(1, descending=True)
    rank = order.argsort(1)
    wanted = (negatives * (classes > BACKGROUND).sum(1, keepdim=True)).clamp(min=NEGATIVES_AT_LEAST)  # N 1
    return background & (rank < wanted)


def _mean(each: Tensor, offsets: Tensor, targets: Targets, weights: Tensor, box_share: float, over: Tensor | None) -> Tensor:
    """The sum over anchors, those of the offsets added, by the number of matched anchors."""
    matched = targets.classes > BACKGROUND
    distance = functional.smooth_l1_loss(offsets.float(), targets.offsets, reduction="none").sum(2)  # N A
    of_image = each.sum(1) + box_share * (distance * matched).sum(1)  # N
    return (of_image * weights).sum() / (matched_anchors(targets, weights).clamp(min=1) if over is None else over)


def _one_hot(classes: Tensor, logits: Tensor) -> Tensor:
    """1 in the column of the anchor's label, N A labels."""
    return functional.one_hot(classes.clamp(min=0), logits.shape[2] + 1)[..., 1:].to(logits.dtype)


def _own_anchors(overlaps: Tensor) -> Tensor:
    """An anchor of its own for every box, K, as the overlaps K A have it; -1 for a box that none is left for."""
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
    """Intersection over union of each box with each anchor, K A, from the area that they share."""
    return shared / (_areas(boxes)[:, None] + _areas(anchors) - shared)


def _shared(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Area that each box shares with each anchor, K A."""
    sides = torch.minimum(boxes[:, None, 2:], anchors[:, 2:]) - torch.maximum(boxes[:, None, :2], anchors[:, :2])
    return sides.clamp(min=0).prod(2)


def _extra(c_in: int, c_out: int, head: SsdHead, like: BackboneSpec) -> nn.Sequential:
    """To half the channels by 1 x 1, then 3 x 3 at stride 2: depthwise with a 1 x 1 after it, or full."""
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
    """What the predictors say of their maps, N A columns."""
    each = [predictor(x) for predictor, x in zip(predictors, maps, strict=True)]  # N (anchors columns) h w
    return torch.cat([x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, columns) for x in each], 1)
