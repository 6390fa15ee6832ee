"""The parts of a recipe: every key with its type, default, range, tasks and meaning. What it does to images: `feeding/settings.py`.

A key that is None keeps the model's own value. Counts, px and shares (0 to 1) have no unit in their name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mobilenets.feeding.settings import CLASSIFY, DETECT, IMAGES_AND_MASKS, SEGMENT
from mobilenets.keys import key
from mobilenets.specs.model import Mirrors, Task
from mobilenets.specs.segment import On
from mobilenets.specs.ssd import Scores

Quantize = Literal["none", "int8"]
OptimizerName = Literal["sgd", "rmsprop", "adamw"]
ScheduleName = Literal["constant", "cosine", "exponential", "poly"]
HeadName = Literal["default", "ssdlite", "ssd", "deeplab", "lraspp"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]

HUGE = 1e9
BOXES_AND_MASKS = ("detect", "segment")
_FLOATS = ("quantize", "none")


# fmt: off
@dataclass(frozen=True, kw_only=True)
class Network:
    """The network, where the caller does not bring one, and its input."""

    task: Task = key("classify", "task of the recipe")
    model: str = key("mobilenet_v2", "name of the network")
    width: float = key(1.0, "width multiplier", between=(0.05, 8))
    size: int = key(0, "input size, px; 0 keeps the model's", between=(0, 4096))
    wide: int = key(0, "input width if the input is not square, px; 0 for a square", between=(0, 4096), tasks=BOXES_AND_MASKS)
    input_crop: float = key(0.0, "share of each side of an image that evaluation sees; 0 keeps the model's", between=(0, 1), tasks=CLASSIFY)
    from_weights: bool = key(False, "whether training starts from public weights if no others are given")


@dataclass(frozen=True, kw_only=True)
class Length:
    """How long training lasts."""

    epochs: int = key(30, "passes over the training images", between=(1, 1e6))
    time_budget_minutes: float = key(0.0, "training ends early to stay within it, validation and report included; 0 for no limit", between=(0, HUGE))
    patience_epochs: int = key(0, "stop after this many epochs without a better validation result; 0 never stops", between=(0, 1e6))
    evaluate_every_epochs: int = key(1, "epochs between two validations; the last epoch is always validated", between=(1, 1e6))


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """A step. Weight decay is decoupled under adamw and added to the gradient by the others, as in their papers."""

    batch: int = key(32, "images per optimizer step, over all processes and accumulated parts", between=(1, 1e6))
    accumulate: int = key(1, "parts that each process splits its batch into; batch norm, Dice and Lovasz see one part at a time", between=(1, 1e6))
    optimizer: OptimizerName = key("sgd", "sgd, rmsprop (TensorFlow's) or adamw")
    learning_rate: float = key(0.01, "peak learning rate, for the whole batch", between=(0, 1e3))
    momentum: float = key(0.9, "momentum of sgd and rmsprop", between=(0, 0.9999), needs=("optimizer", "sgd", "rmsprop"))
    rmsprop_decay: float = key(0.9, "decay of rmsprop's moving mean square", between=(0, 1), needs=("optimizer", "rmsprop"))
    beta1: float = key(0.9, "beta 1 of adamw", between=(0, 0.9999), needs=("optimizer", "adamw"))
    beta2: float = key(0.999, "beta 2 of adamw", between=(0, 0.999999), needs=("optimizer", "adamw"))
    epsilon: float = key(1e-8, "epsilon of adamw, and of rmsprop inside the root", between=(0, 10), needs=("optimizer", "rmsprop", "adamw"))
    weight_decay: float = key(0.0, "weight decay", between=(0, 10))
    l2: float = key(0.0, "L2 regularization, added to the gradient in addition to weight_decay", between=(0, 10))
    decay_depthwise: bool = key(True, "whether weight decay applies to depthwise filters")
    decay_norms: bool = key(False, "whether weight decay applies to batch norms, biases and layer scales")
    clip_norm: float = key(0.0, "maximum norm of the whole gradient; 0 for no limit", between=(0, HUGE))


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The learning rate over time."""

    schedule: ScheduleName = key("cosine", "learning rate schedule")
    warmup_epochs: float = key(0.0, "epochs of warmup, at most half of the training", between=(0, 1e6))
    warmup_start: float = key(0.0, "share of the learning rate at the first step of the warmup", between=(0, 1), needs=("warmup_epochs",))
    decay_factor: float = key(0.1, "exponential: factor of each decay", between=(0, 1), needs=("schedule", "exponential"))
    decay_every_epochs: float = key(30.0, "exponential: epochs between two decays", between=(1e-3, 1e6), needs=("schedule", "exponential"))
    poly_power: float = key(0.9, "poly: the rate falls as (1 - progress) to this power (DeepLabv3, section 4.1)", between=(0, 10), needs=("schedule", "poly"))
    cosine_floor: float = key(0.0, "cosine: share of the learning rate at the end (alpha of V4, Table 10)", between=(0, 1), needs=("schedule", "cosine"))


@dataclass(frozen=True, kw_only=True)
class Regularization:
    """What keeps the weights from fitting noise."""

    label_smoothing: float = key(0.0, "share of each target that is spread over all classes", between=(0, 0.99), tasks=CLASSIFY)
    dropout: float | None = key(None, "dropout before the classifier; none keeps the model's", between=(0, 0.99), tasks=IMAGES_AND_MASKS, needs=_FLOATS)
    stochastic_depth: float | None = key(None, "chance to drop the last residual branch, growing linearly with depth; none keeps the model's", between=(0, 0.99), needs=_FLOATS)
    ema: float = key(0.0, "decay per step of the averaged weights that are validated and kept; 0 turns averaging off", between=(0, 0.999999))
    norm_momentum: float | None = key(None, "share of the new value in batch norm's running statistics; none keeps the model's", between=(0, 1), needs=_FLOATS)


@dataclass(frozen=True, kw_only=True)
class Freezing:
    """What learns."""

    freeze_blocks: int = key(0, "number of frozen blocks, from the first on; -1 for the whole backbone", between=(-1, 1000))
    freeze_norms: bool = key(False, "whether batch norms keep their running statistics", needs=_FLOATS)
    cached_features: bool = key(False, "compute the features of the frozen backbone once; needs freeze_blocks=-1", tasks=CLASSIFY, needs=_FLOATS)


@dataclass(frozen=True, kw_only=True)
class Quantizing:
    """Training a network in 8-bit integers."""

    quantize: Quantize = key("none", "int8: quantization-aware training, starting from float weights")
    distill: float = key(1.0, "share of the loss that comes from the float network's predictions; the rest comes from labels", between=(0, 1), needs=("quantize", "int8"))
    frozen_ranges: float = key(0.25, "share of the training, at its end, with frozen ranges", between=(0, 1), needs=("quantize", "int8"))


@dataclass(frozen=True, kw_only=True)
class FreshHead:
    """The shape of a new head; a head that is kept has its own."""

    head_filters: int = key(0, "channels of a segmentation head; 0 for the paper's", between=(0, 4096), tasks=SEGMENT)
    output_stride: int = key(16, "input px per px of the deepest map: 8, 16 or 32", between=(8, 32), tasks=SEGMENT)
    aspp: bool = key(True, "the three atrous branches of DeepLabv3; without them it is R-ASPP", tasks=SEGMENT)
    on: On = key("last", "feature map that a segmentation head is built on", tasks=SEGMENT)
    decoder: str = key("", "feature map of DeepLabv3+'s decoder, such as s4", tasks=SEGMENT)
    auxiliary: str = key("", "feature map of the auxiliary head that only training uses, such as s8", tasks=SEGMENT)
    activation: Scores = key("softmax", "where a detector's scores come from", tasks=DETECT)
    anchor_smallest: float = key(0.1, "scale of the first map's square anchor", between=(0, 1), tasks=DETECT)
    anchor_scale_min: float = key(0.2, "scale of the first map's other anchors", between=(1e-3, 1), tasks=DETECT)
    anchor_scale_max: float = key(0.95, "scale of the last map's anchors", between=(1e-3, 2), tasks=DETECT)


@dataclass(frozen=True, kw_only=True)
class Head(FreshHead):
    """What predicts."""

    head: HeadName = key("default", "which head; default keeps the model's, or builds SSDLite for detection and DeepLabv3 for segmentation", tasks=BOXES_AND_MASKS)
    mirrors: Mirrors = key("none", "mirror images whose logits a classifier averages, wherever it is used: 2 or 4 times the work", tasks=CLASSIFY)


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The losses of detectors and segmenters."""

    match_iou: float = key(0.5, "overlap at which an anchor matches a box", between=(0.05, 0.95), tasks=DETECT)
    negatives: float = key(3.0, "background anchors per matched one; the focal loss uses all", between=(0, 1e6), tasks=DETECT)
    focal_gamma: float = key(0.0, "above 0: the focal loss instead of hard negative mining", between=(0, 10), tasks=DETECT)
    focal_alpha: float = key(0.75, "weight of objects in the focal loss", between=(0, 1), tasks=DETECT, needs=("focal_gamma",))
    box_share: float = key(1.0, "weight of the box offsets' loss", between=(0, 1000), tasks=DETECT)
    dice: float = key(0.0, "weight of the Dice loss", between=(0, 100), tasks=SEGMENT)
    lovasz: float = key(0.0, "weight of the Lovasz loss, a surrogate that optimizes IoU", between=(0, 100), tasks=SEGMENT)
    auxiliary_share: float = key(0.4, "weight of the auxiliary head's loss", between=(0, 100), tasks=SEGMENT, needs=_FLOATS)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How it is computed, and when it is saved."""

    precision: Precision = key("auto", "number format of convolutions; auto uses what the device supports natively")
    channels_last: bool = key(True, "memory layout of images")
    compile: bool = key(False, "compile the network with torch.compile", needs=_FLOATS)
    sync_norms: bool = key(False, "batch norm over all processes; GPUs only", needs=_FLOATS)
    workers: int = key(-1, "processes that read and augment images; -1 chooses", between=(-1, 256))
    cache_mb: int = key(2048, "memory for decoded images, MB", between=(0, 1e7))
    save_every_seconds: float = key(300.0, "time between two saves within an epoch; the end of every epoch is always saved", between=(0, HUGE))
    tensorboard: bool = key(False, "also log to the run's folder 'tensorboard'")
    seed: int = key(0, "seed for order, augmentation and new weights", between=(0, 2**62))
# fmt: on
