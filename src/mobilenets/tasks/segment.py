"""Segmentation: the DeepLabv3 and LR-ASPP heads and their losses; the counterpart of `runtime/segment.py`."""

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
"""Weight of the auxiliary head's loss (torchvision's reference training)."""
OVERLAP_PIXELS = 2**17
"""Number of pixels in a batch that the Dice and Lovász losses use, on a grid over all images. Far fewer pixels than a batch has
are enough to estimate how classes overlap, and sorting a million pixels takes longer than the network."""
PUBLISHED = 256
"""Number of filters before the classifier in TensorFlow's DeepLab."""
_SMOOTH = 1e-6


class DeepLab(nn.Module):
    """Parallel branches on the deepest map, joined and classified; with the DeepLabv3+ decoder if the head names a map for it.

    Args:
        backbone: the backbone that provides the feature maps.
        head: settings of the head.
        classes: number of logits per pixel.
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
        """Names of the outputs of `forward`; the auxiliary head's logits are among them only in training."""
        return _outputs(self.record, training=self.training)

    def inputs(self, backbone: Backbone, x: Tensor) -> dict[str, Tensor]:
        """The maps that the head reads, by name, from images, N C H W."""
        return _maps(self.deep, self.record, backbone, x, training=self.training)

    def forward(self, maps: dict[str, Tensor]) -> Tensor | tuple[Tensor, ...]:
        """Logits, N classes h w, at the stride of the head's map; in training, the auxiliary head's logits too."""
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
        """Initialize the classifiers' weights, see `classifier_std`, and set their biases to 0."""
        _draw(self.classifier)
        if self.record.auxiliary:
            _draw(self.auxiliary.classifier)


class Lraspp(nn.Module):
    """LR-ASPP (V3, Fig. 10): logits from the deep map, gated by its pooled version, added to logits from a shallower map.

    Args:
        backbone: the backbone that provides the feature maps.
        head: settings of the head.
        classes: number of logits per pixel.
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
        """Names of the outputs of `forward`; the auxiliary head's logits are among them only in training."""
        return _outputs(self.record, training=self.training)

    def inputs(self, backbone: Backbone, x: Tensor) -> dict[str, Tensor]:
        """The maps that the head reads, by name, from images, N C H W."""
        return _maps(self.deep, self.record, backbone, x, training=self.training)

    def forward(self, maps: dict[str, Tensor]) -> Tensor | tuple[Tensor, ...]:
        """Logits, N classes h w, at the stride of the shallower map; in training, the auxiliary head's logits too."""
        deep, low = maps[self.deep], maps[self.record.low]
        align_corners = self.record.align_corners
        gate = torch.sigmoid(self.gate(self._pooled(deep)))  # N filters h w, with few pixels or one
        if gate.shape[2:] != (1, 1):
            gate = enlarge(gate, deep.shape[2:], align_corners=align_corners)
        high = self.high(self.point(deep) * gate)  # classified before upsampling: the same sum at a lower cost
        logits: Tensor = self.low(low) + enlarge(high, low.shape[2:], align_corners=align_corners)
        return (logits, self.auxiliary(maps[self.record.auxiliary])) if len(self.outputs) > 1 else logits

    def draw(self) -> None:
        """Initialize the classifiers' weights, see `classifier_std`, and set their biases to 0."""
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
    """A training-only head on a shallower map: a 3 x 3 convolution to a quarter of the channels, then a classifier."""

    def __init__(self, c_in: int, classes: int, *, like: BackboneSpec) -> None:
        super().__init__()
        self.conv = ConvNorm(c_in, max(c_in // 4, 1), 3, like=like, activation="relu")
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Conv2d(max(c_in // 4, 1), classes, 1)


class PooledNorm(nn.BatchNorm2d):
    """Batch norm of pooled maps. A batch of one image has no variance, so it is normalized by the running statistics."""

    def forward(self, x: Tensor) -> Tensor:
        """The normalized maps, N C 1 1, in the shape of the input."""
        if self.training and x.numel() == x.shape[1]:
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


def enlarge(x: Tensor, size: tuple[int, int] | torch.Size, *, align_corners: bool) -> Tensor:
    """A map, N C h w, resized bilinearly to another height and width."""
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
    """Mean cross entropy of all pixels that count, at the mask's size, optionally with the Dice and Lovász losses.

    In large batches, the Dice and Lovász losses are computed on a grid of at least `OVERLAP_PIXELS` pixels.

    Args:
        logits: N classes h w; they are upsampled bilinearly.
        mask: the class of each pixel, N H W; `ignore` where a pixel does not count.
        weights: weight of each image, N.
        ignore: value of the pixels that do not count.
        class_weights: weight of each class, to balance them; the mean is then a weighted mean.
        dice: weight of the soft Dice loss (Milletari et al. 2016), the mean over the classes that occur.
        lovasz: weight of the Lovász softmax loss (Berman et al. 2018) over the batch, for the classes that occur.
        auxiliary: logits of the auxiliary head, N classes h w; their cross entropy is added.
        auxiliary_share: weight of the auxiliary head's cross entropy.
        align_corners: the setting in the head's record.
        over: divisor of the sum over the pixels; by default the result of `pixels` for this batch. If it is that of a larger
            batch, the Dice and Lovász losses, which are not sums, are weighted by this part's share of it.
    """
    counted = pixels(mask, ignore=ignore, class_weights=class_weights)
    over = counted.clamp(min=_SMOOTH) if over is None else over
    large = enlarge(logits, mask.shape[1:], align_corners=align_corners)  # N classes H W
    total = _cross_entropy(large, mask, weights, ignore, class_weights) / over
    if dice or lovasz:
        step = max(1, math.isqrt(mask.numel() // OVERLAP_PIXELS))
        scores, part = large[:, :, ::step, ::step].softmax(1), mask[:, ::step, ::step]
        counts = (part != ignore) * weights[:, None, None]  # N H W
        target = functional.one_hot(part.where(part != ignore, 0), logits.shape[1]).movedim(-1, 1)  # N classes H W
        total = total + dice * dice_loss(scores, target, counts) * counted / over if dice else total
        total = total + lovasz * lovasz_loss(scores, target, counts) * counted / over if lovasz else total
    if auxiliary is not None:
        shallow = enlarge(auxiliary, mask.shape[1:], align_corners=align_corners)
        total = total + auxiliary_share * _cross_entropy(shallow, mask, weights, ignore, class_weights) / over
    return total


def dice_loss(scores: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """One minus the mean Dice coefficient of the classes that occur, each computed over the whole batch.

    Args:
        scores: N classes H W; they sum to 1 over the classes.
        target: 1 for the class of a pixel, 0 for the others, N classes H W.
        counts: weight of each pixel, N H W.
    """
    pixels = counts[:, None]
    both = (2 * scores * target * pixels).sum((0, 2, 3))  # classes
    either = ((scores + target) * pixels).sum((0, 2, 3))
    occurs = (target * pixels).sum((0, 2, 3)) > 0
    return _mean_of(1 - both / either.clamp(min=_SMOOTH), occurs)


def lovasz_loss(scores: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    """The convex extension of one minus the Jaccard index, over the whole batch; the mean over the classes that occur.

    Args:
        scores: N classes H W; they sum to 1 over the classes.
        target: 1 for the class of a pixel, 0 for the others, N classes H W.
        counts: weight of each pixel, N H W.
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
    """The number of pixels that count, or the sum of their class weights.

    Args:
        mask: the class of each pixel, N H W.
        ignore: value of the pixels that do not count.
        class_weights: weight of each class.
    """
    valid = mask != ignore
    if class_weights is None:
        return valid.sum()
    return class_weights[mask.where(valid, 0).long()].mul(valid).sum()


def _cross_entropy(logits: Tensor, mask: Tensor, weights: Tensor, ignore: int, class_weights: Tensor | None) -> Tensor:
    """The sum of the cross entropy over the pixels that count."""
    each = functional.cross_entropy(logits, mask, class_weights, ignore_index=ignore, reduction="none")  # N H W
    return (each * weights[:, None, None]).sum()


def _mean_of(each: Tensor, which: Tensor) -> Tensor:
    """The mean of the selected values, or 0 if none are selected."""
    return (each * which).sum() / which.sum().clamp(min=1)


def _outputs(record: SegmentationHead, *, training: bool) -> tuple[str, ...]:
    return ("logits", "auxiliary") if training and record.auxiliary else ("logits",)


def _maps(deep: str, record: SegmentationHead, backbone: Backbone, x: Tensor, *, training: bool) -> dict[str, Tensor]:
    """The deepest map and the maps that the record names."""
    names = (deep, record.low, record.auxiliary if training else "")
    return backbone.maps(x, [name for name in names if name])


def classifier_std(c_in: int) -> float:
    """Standard deviation of a classifier's initial weights: 0.01 for at least `PUBLISHED` inputs, else 1 / sqrt(c_in).

    TensorFlow's DeepLab uses 0.01 with 256 filters (tensorflow/models research/deeplab/model.py, `get_branch_logits`). With few
    filters, that leaves the logits near 0 and almost no gradient for the layers before them, so these logits start with the
    same spread as their inputs. TensorFlow's LR-ASPP is close to that too: its two classifiers use slim's default, Glorot's
    sqrt(2 / (c_in + classes)).

    >>> classifier_std(256), classifier_std(16)
    (0.01, 0.25)
    """
    return 0.01 if c_in >= PUBLISHED else c_in**-0.5


def _draw(classifier: nn.Conv2d) -> None:
    nn.init.normal_(classifier.weight, std=classifier_std(classifier.in_channels))
    assert classifier.bias is not None
    nn.init.zeros_(classifier.bias)
