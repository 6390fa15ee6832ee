"""Segmentation: the DeepLabv3 and LR-ASPP heads, and what they learn from; partner of `runtime/segment.py`."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from mobilenets.net.backbone import Backbone
from mobilenets.net.blocks import ConvNorm
from mobilenets.specs.deeplab import DeepLabHead
from mobilenets.specs.heads import SegmentationHead
from mobilenets.specs.lraspp import LrasppHead
from mobilenets.specs.rows import BackboneSpec, deepest_map, feature_maps

AUXILIARY_SHARE = 0.5
"""Of the auxiliary head's loss (torchvision's reference training)."""
OVERLAP_PIXELS = 2**17
"""Pixels of a batch that the Dice and Lovász losses look at, a grid over all images: the overlap of classes is told by far
fewer pixels than a batch has, and sorting a million takes longer than the network."""
PUBLISHED = 256
"""Filters before the classifier that TensorFlow's DeepLab has."""
_SMOOTH = 1e-6


class DeepLab(nn.Module):
    """Branches on the deepest map, joined and classified, with the DeepLabv3+ decoder if the record names a map for it.

    Args:
        backbone: what it stands on.
        head: its settings.
        classes: how many logits a pixel gets.
    """

    def __init__(self, backbone: BackboneSpec, head: DeepLabHead, classes: int) -> None:
        super().__init__()
        self.record = head
        self.deep = deepest_map(backbone)
        like = replace(backbone, norm_eps=head.norm_eps, norm_momentum=head.norm_momentum)
        c_in, filters = backbone.c_out, head.filters
        self.point = ConvNorm(c_in, filters, 1, like=like, activation="relu")
        self.atrous = nn.ModuleList(
            ConvNorm(c_in, filters, 3, like=like, activation="relu", dilation=rate) for rate in head.rates
        )
        self.pooling = ConvNorm(c_in, filters, 1, like=like, activation="relu")
        self.pooling.norm = PooledNorm(filters, eps=head.norm_eps, momentum=head.norm_momentum)
        self.project = ConvNorm((2 + len(head.rates)) * filters, filters, 1, like=like, activation="relu")
        self.dropout = nn.Dropout(head.dropout)
        if head.refines:
            self.refine = ConvNorm(filters, filters, 3, like=like, activation="relu")
        if head.low:
            c_low = feature_maps(backbone)[head.low][1]
            self.low = ConvNorm(c_low, head.low_filters, 1, like=like, activation="relu")
            self.decode = nn.Sequential(
                ConvNorm(filters + head.low_filters, filters, 3, like=like, activation="relu"),
                ConvNorm(filters, filters, 3, like=like, activation="relu"),
            )
        self.classifier = nn.Conv2d(filters, classes, 1)
        if head.auxiliary:
            self.auxiliary = Auxiliary(feature_maps(backbone)[head.auxiliary][1], classes, like=like)

    @property
    def outputs(self) -> tuple[str, ...]:
        """What `forward` gives: the auxiliary head's logits in training alone."""
        return _outputs(self.record, training=self.training)

    def inputs(self, backbone: Backbone, x: Tensor) -> dict[str, Tensor]:
        """The maps that the head stands on, by name, of images N C H W."""
        return _maps(self.deep, self.record, backbone, x, training=self.training)

    def forward(self, maps: dict[str, Tensor]) -> Tensor | tuple[Tensor, ...]:
        """Logits, N classes h w, at the stride of the head's map; in training with an auxiliary head those of both."""
        deep = maps[self.deep]
        pooled = self.pooling(deep.mean((2, 3), keepdim=True))  # N filters 1 1
        branches = [self.point(deep), *(branch(deep) for branch in self.atrous), pooled.expand(-1, -1, *deep.shape[2:])]
        x: Tensor = self.dropout(self.project(torch.cat(branches, 1)))
        if self.record.refines:
            x = self.refine(x)
        if self.record.low:
            low = self.low(maps[self.record.low])
            x = self.decode(torch.cat([enlarge(x, low.shape[2:], align_corners=self.record.align_corners), low], 1))
        logits: Tensor = self.classifier(x)
        return (logits, self.auxiliary(maps[self.record.auxiliary])) if len(self.outputs) > 1 else logits

    def draw(self) -> None:
        """Fresh weights for the classifiers, see `classifier_std`; no bias."""
        _draw(self.classifier)
        if self.record.auxiliary:
            _draw(self.auxiliary.classifier)


class Lraspp(nn.Module):
    """LR-ASPP (V3, Fig. 10): the deep map through 1 x 1 and a gate from its pooled self, added to a shallower map's logits.

    Args:
        backbone: what it stands on.
        head: its settings.
        classes: how many logits a pixel gets.
    """

    def __init__(self, backbone: BackboneSpec, head: LrasppHead, classes: int) -> None:
        super().__init__()
        self.record = head
        self.deep = deepest_map(backbone)
        like = replace(backbone, norm_eps=head.norm_eps, norm_momentum=head.norm_momentum)
        maps = feature_maps(backbone)
        self.point = ConvNorm(backbone.c_out, head.filters, 1, like=like, activation="relu")
        self.gate = nn.Conv2d(backbone.c_out, head.filters, 1, bias=False)
        self.high = nn.Conv2d(head.filters, classes, 1)
        self.low = nn.Conv2d(maps[head.low][1], classes, 1)
        if head.auxiliary:
            self.auxiliary = Auxiliary(maps[head.auxiliary][1], classes, like=like)

    @property
    def outputs(self) -> tuple[str, ...]:
        """What `forward` gives: the auxiliary head's logits in training alone."""
        return _outputs(self.record, training=self.training)

    def inputs(self, backbone: Backbone, x: Tensor) -> dict[str, Tensor]:
        """The maps that the head stands on, by name, of images N C H W."""
        return _maps(self.deep, self.record, backbone, x, training=self.training)

    def forward(self, maps: dict[str, Tensor]) -> Tensor | tuple[Tensor, ...]:
        """Logits, N classes h w, at the stride of the shallower map; in training with an auxiliary head those of both."""
        deep, low = maps[self.deep], maps[self.record.low]
        align_corners = self.record.align_corners
        gate = torch.sigmoid(self.gate(self._pooled(deep)))  # N filters and few or one pixel
        if gate.shape[2:] != (1, 1):
            gate = enlarge(gate, deep.shape[2:], align_corners=align_corners)
        high = self.high(self.point(deep) * gate)  # before it is enlarged, which is the same sum for less
        logits: Tensor = self.low(low) + enlarge(high, low.shape[2:], align_corners=align_corners)
        return (logits, self.auxiliary(maps[self.record.auxiliary])) if len(self.outputs) > 1 else logits

    def draw(self) -> None:
        """Fresh weights for the classifiers, see `classifier_std`; no bias."""
        _draw(self.low)
        _draw(self.high)
        if self.record.auxiliary:
            _draw(self.auxiliary.classifier)

    def _pooled(self, deep: Tensor) -> Tensor:
        height, width = deep.shape[2:]
        window = self.record.window
        if not window or max(height, width) <= window:
            return deep.mean((2, 3), keepdim=True)
        return functional.avg_pool2d(deep, (min(height, window), min(width, window)), self.record.window_strides)


class Auxiliary(nn.Sequential):
    """A head of its own on a shallower map, for training alone: 3 x 3 to a quarter of the channels, classifier."""

    def __init__(self, c_in: int, classes: int, *, like: BackboneSpec) -> None:
        super().__init__()
        self.conv = ConvNorm(c_in, max(c_in // 4, 1), 3, like=like, activation="relu")
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Conv2d(max(c_in // 4, 1), classes, 1)


class PooledNorm(nn.BatchNorm2d):
    """Batch norm of pooled maps. A batch of one image has no variance; it is normed by the running statistics."""

    def forward(self, x: Tensor) -> Tensor:
        """N C 1 1 as it came."""
        if self.training and x.numel() == x.shape[1]:
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def enlarge(x: Tensor, size: tuple[int, int] | torch.Size, *, align_corners: bool) -> Tensor:
    """A map N C h w at another height and width, bilinearly."""
    return functional.interpolate(x, size=(size[0], size[1]), mode="bilinear", align_corners=align_corners)


def loss(
    logits: Tensor,
    mask: Tensor,
    weights: Tensor,
    *,
    ignore: int = 255,
    class_weights: Tensor | None = None,
    dice: float = 0.0,
    lovasz: float = 0.0,
    auxiliary: Tensor | None = None,
    auxiliary_share: float = AUXILIARY_SHARE,
    align_corners: bool = False,
    over: Tensor | None = None,
) -> Tensor:
    """Mean cross entropy of all pixels that count, at the mask's size; with shares of the Dice and Lovász losses on request.

    Of large batches, Dice and Lovász are computed on a grid of at least `OVERLAP_PIXELS`.

    Args:
        logits: N classes h w; they are enlarged bilinearly.
        mask: the class of each pixel, N H W; `ignore` where it does not count.
        weights: of each image, N.
        ignore: value of the pixels that do not count.
        class_weights: of each class, to balance them; the mean is over weights then.
        dice: share of the soft Dice loss (Milletari et al. 2016), the mean over the classes that occur.
        lovasz: share of the Lovász softmax loss (Berman et al. 2018), over the batch, of the classes that occur.
        auxiliary: logits of the auxiliary head, N classes h w; their cross entropy is added.
        auxiliary_share: of that.
        align_corners: as the head's record says.
        over: what the sum over the pixels is divided by; by default what `pixels` counts here. Where it is that of a larger
            batch, Dice and Lovász losses, which are no sums, count by this part's share of it.
    """
    here = pixels(mask, ignore=ignore, class_weights=class_weights)
    over = here.clamp(min=_SMOOTH) if over is None else over
    large = enlarge(logits, mask.shape[1:], align_corners=align_corners)  # N classes H W
    total = _cross_entropy(large, mask, weights, ignore, class_weights) / over
    if dice or lovasz:
        step = max(1, math.isqrt(mask.numel() // OVERLAP_PIXELS))
        scores, some = large[:, :, ::step, ::step].softmax(1), mask[:, ::step, ::step]
        counts = (some != ignore) * weights[:, None, None]  # N H W
        target = functional.one_hot(some.where(some != ignore, 0), logits.shape[1]).movedim(-1, 1)  # N classes H W
        total = total + dice * dice_loss(scores, target, counts) * here / over if dice else total
        total = total + lovasz * lovasz_loss(scores, target, counts) * here / over if lovasz else total
    if auxiliary is not None:
        shallow = enlarge(auxiliary, mask.shape[1:], align_corners=align_corners)
        total = total + auxiliary_share * _cross_entropy(shallow, mask, weights, ignore, class_weights) / over
    return total


def dice_loss(scores: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """1 less the mean Dice coefficient of the classes that occur, each over the whole batch.

    Args:
        scores: N classes H W, their sum over the classes 1.
        target: 1 for the class of a pixel, else 0, N classes H W.
        counts: how much a pixel counts, N H W.
    """
    pixels = counts[:, None]
    both = (2 * scores * target * pixels).sum((0, 2, 3))  # classes
    either = ((scores + target) * pixels).sum((0, 2, 3))
    occurs = (target * pixels).sum((0, 2, 3)) > 0
    return _mean_of(1 - both / either.clamp(min=_SMOOTH), occurs)


def lovasz_loss(scores: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """The convex extension of 1 less the Jaccard index, as the mean of the classes that occur, each over the whole batch.

    Args:
        scores: N classes H W, their sum over the classes 1.
        target: 1 for the class of a pixel, else 0, N classes H W.
        counts: how much a pixel counts, N H W.
    """
    theirs = target.transpose(0, 1).flatten(1).to(scores.dtype)  # classes NHW
    wrong = (theirs - scores.transpose(0, 1).flatten(1)).abs()
    wrong, order = wrong.sort(1, descending=True)
    theirs = theirs.gather(1, order)
    pixels = counts.flatten()[order]
    inside = (theirs * pixels).sum(1, keepdim=True)  # classes 1
    left = inside - (theirs * pixels).cumsum(1)
    joined = inside + ((1 - theirs) * pixels).cumsum(1)
    jaccard = 1 - left / joined.clamp(min=_SMOOTH)
    steps = jaccard.diff(dim=1, prepend=jaccard.new_zeros(len(jaccard), 1))
    return _mean_of((wrong * steps).sum(1), inside[:, 0] > 0)


def pixels(mask: Tensor, *, ignore: int = 255, class_weights: Tensor | None = None) -> Tensor:
    """How many pixels count, or the sum of their classes' weights.

    Args:
        mask: the class of each pixel, N H W.
        ignore: value of the pixels that do not count.
        class_weights: of each class.
    """
    valid = mask != ignore
    if class_weights is None:
        return valid.sum()
    return class_weights[mask.where(valid, 0).long()].mul(valid).sum()


def _cross_entropy(logits: Tensor, mask: Tensor, weights: Tensor, ignore: int, class_weights: Tensor | None) -> Tensor:
    """The sum over the pixels that count."""
    each = functional.cross_entropy(logits, mask, class_weights, ignore_index=ignore, reduction="none")  # N H W
    return (each * weights[:, None, None]).sum()


def _mean_of(each: Tensor, which: Tensor) -> Tensor:
    """The mean of some, 0 of none."""
    return (each * which).sum() / which.sum().clamp(min=1)


def _outputs(record: SegmentationHead, *, training: bool) -> tuple[str, ...]:
    return ("logits", "auxiliary") if training and record.auxiliary else ("logits",)


def _maps(deep: str, record: SegmentationHead, backbone: Backbone, x: Tensor, *, training: bool) -> dict[str, Tensor]:
    """The deepest map and those that the record names."""
    names = (deep, record.low, record.auxiliary if training else "")
    return backbone.maps(x, [name for name in names if name])


def classifier_std(c_in: int) -> float:
    """Standard deviation of a fresh classifier's weights: 0.01 from `PUBLISHED` inputs on, below it 1 / sqrt(c_in).

    TensorFlow's DeepLab draws 0.01, of 256 filters (tensorflow/models research/deeplab/model.py, `get_branch_logits`). Of few
    filters that leaves logits near 0 and hardly a gradient for what lies before them, so these begin as spread as their inputs.
    TensorFlow's LR-ASPP is near that too: its two classifiers are slim's default, Glorot's sqrt(2 / (c_in + classes)).

    >>> classifier_std(256), classifier_std(16)
    (0.01, 0.25)
    """
    return 0.01 if c_in >= PUBLISHED else c_in**-0.5


def _draw(classifier: nn.Conv2d) -> None:
    nn.init.normal_(classifier.weight, std=classifier_std(classifier.in_channels))
    assert classifier.bias is not None
    nn.init.zeros_(classifier.bias)
