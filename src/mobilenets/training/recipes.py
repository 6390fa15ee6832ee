"""`RECIPES`: the papers' recipes and ours, by name. Every figure that no paper gives says where it is from."""

from __future__ import annotations

from dataclasses import replace

from mobilenets.table import Table
from mobilenets.training.recipe import Recipe

# What the papers call Inception preprocessing: slim's inception_preprocessing.py distorts colors by these amounts.
_INCEPTION = Recipe(brightness=32 / 255, contrast=0.5, saturation=0.5, hue=0.2)

_V1 = Recipe(  # V1, section 3.2, where it gives a figure; else tensorflow/models research/slim/nets/mobilenet_v1_train.py
    model="mobilenet_v1",
    size=224,
    epochs=500,  # the paper gives none; TF Model Garden imagenet_mobilenetv1_tpu.yaml
    batch=64,  # slim flag default
    optimizer="rmsprop",  # section 3.2; slim's own script takes plain gradient descent
    learning_rate=0.045,  # slim
    momentum=0.9,  # slim's default for rmsprop
    rmsprop_decay=0.9,  # slim's default
    epsilon=1.0,  # slim's opt_epsilon
    schedule="exponential",
    decay_factor=0.94,  # slim: x 0.94 every 2.5 epochs, staircase
    decay_every_epochs=2.5,
    weight_decay=4e-5,  # slim
    decay_depthwise=False,  # section 3.2: very little or none on depthwise filters
    label_smoothing=0.0,  # section 3.2: none
    dropout=0.001,  # slim: keep 0.999
    norm_momentum=0.0003,  # slim: decay 0.9997
    crop_scale_min=0.25,  # section 3.2 limits small crops without a figure; this one is ours
)

_V2 = replace(  # V2, section 6.1, where it gives a figure; else slim nets/mobilenet/README.md and its defaults
    _INCEPTION,
    model="mobilenet_v2",
    size=224,
    epochs=300,  # the paper gives none; torchvision references/classification, same learning rate and decay
    batch=96,  # section 6.1, per worker
    optimizer="rmsprop",
    learning_rate=0.045,
    momentum=0.9,
    rmsprop_decay=0.9,
    epsilon=1.0,  # slim's opt_epsilon
    schedule="exponential",
    decay_factor=0.98,  # section 6.1: per epoch
    decay_every_epochs=1.0,
    weight_decay=4e-5,
    decay_depthwise=False,  # slim: no regularizer on depthwise
    label_smoothing=0.1,  # slim README
    dropout=0.2,  # slim: keep 0.8
    ema=0.9999,  # slim README
    norm_momentum=0.003,  # slim: decay 0.997
)

_V3 = replace(  # V3, section 6.1.1, where it gives a figure; else slim nets/mobilenet/README.md
    _INCEPTION,
    size=224,
    epochs=600,  # the paper gives none; torchvision and timm
    batch=4096,  # 128 per chip
    optimizer="rmsprop",
    learning_rate=0.1,
    momentum=0.9,
    rmsprop_decay=0.9,  # slim README
    epsilon=0.002,  # slim README
    schedule="exponential",
    decay_factor=0.99,  # "decay rate of 0.01 every 3 epochs"
    decay_every_epochs=3.0,
    warmup_epochs=5.0,  # slim README
    weight_decay=1e-5,
    decay_depthwise=False,  # slim: no regularizer on depthwise
    label_smoothing=0.1,  # slim README
    dropout=0.2,  # "dropout of 0.8" is the keep probability
    ema=0.9999,
    norm_momentum=0.01,  # average decay 0.99
)

_V4 = Recipe(  # V4, Table 10, common rows and the column of Hybrid-M
    batch=16384,
    optimizer="adamw",
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-7,
    schedule="cosine",
    epochs=500,
    warmup_epochs=20.0,
    weight_decay=0.1,
    label_smoothing=0.1,
    dropout=0.2,
    norm_momentum=0.003,  # TF Model Garden imagenet_mobilenetv4_*_tpu.yaml: 0.997
    policy="rand",
    rand_layers=2,
    rand_magnitude=30,  # Table 10: 15 of TensorFlow's 10, beyond the end of torchvision's scale of 30
)

# fmt: off
_V4_CONV_SMALL = replace(
    _V4, model="mobilenet_v4_conv_small", size=224, batch=4096, learning_rate=0.002, epochs=9600, warmup_epochs=5.0,
    weight_decay=0.01, beta1=0.6, epsilon=1e-6, ema=0.9999, l2=1e-5, dropout=0.3, stochastic_depth=0.0,
    rand_probability=0.5, rand_magnitude=27,  # 9 of TensorFlow's 10
    norm_momentum=0.05,  # TF Model Garden imagenet_mobilenetv4_conv_small_tpu.yaml: 0.95
)
_V4_CONV_MEDIUM = replace(
    _V4, model="mobilenet_v4_conv_medium", size=256, batch=4096, learning_rate=0.004, warmup_epochs=5.0,
    stochastic_depth=0.075, rand_probability=0.7,
)
_V4_HYBRID_MEDIUM = replace(
    _V4, model="mobilenet_v4_hybrid_medium", size=256, learning_rate=0.016, stochastic_depth=0.075, rand_probability=0.7,
)
_V4_CONV_LARGE = replace(  # the released yaml has stochastic depth 0.2 and mixing 0.2
    _V4, model="mobilenet_v4_conv_large", size=384, learning_rate=0.004, weight_decay=0.2,
    stochastic_depth=0.35, rand_probability=1.0, mixup_alpha=0.8, cutmix_alpha=1.0, mix_probability=0.3,
)
_V4_HYBRID_LARGE = replace(
    _V4_CONV_LARGE, model="mobilenet_v4_hybrid_large", learning_rate=0.01, cosine_floor=0.001,
)
# fmt: on

_FINETUNE = Recipe(  # ours: some hundreds to thousands of images, public weights, minutes on a few cores
    from_weights=True,
    epochs=20,
    batch=16,  # more steps from few images; no slower on a CPU
    input_crop=1.0,  # what matters may lie at the border of one's own images
    optimizer="adamw",
    learning_rate=5e-4,
    schedule="cosine",
    warmup_epochs=0.5,
    warmup_start=0.1,
    cosine_floor=0.01,
    weight_decay=0.02,
    clip_norm=5.0,
    dropout=0.2,
    ema=0.99,
    norm_momentum=0.1,  # the papers' 0.003 would not adapt within so few steps
    crop_scale_min=0.5,
    brightness=0.2,
    contrast=0.2,
)

_DETECT = Recipe(  # ours: some hundreds of images with boxes, a classifier's weights, an hour on a few cores
    task="detect",
    from_weights=True,
    size=320,
    epochs=100,
    evaluate_every_epochs=5,
    batch=16,
    optimizer="adamw",
    learning_rate=1e-3,
    schedule="cosine",
    warmup_epochs=1.0,
    warmup_start=0.05,
    cosine_floor=0.01,
    weight_decay=0.02,
    clip_norm=10.0,
    ema=0.998,
    norm_momentum=0.1,
    crop_scale_min=0.3,
    crop_ratio_max=2.0,
    zoom_out=0.3,
    zoom_out_max=2.0,
    photometric=0.3,
)

_SEGMENT = Recipe(  # ours: some hundreds of images with masks, a classifier's weights, an hour or two on a few cores
    task="segment",
    from_weights=True,
    size=320,
    epochs=60,
    evaluate_every_epochs=5,
    batch=8,
    optimizer="adamw",
    learning_rate=1e-3,
    schedule="poly",
    warmup_epochs=1.0,
    warmup_start=0.05,
    weight_decay=0.02,
    clip_norm=10.0,
    ema=0.998,
    norm_momentum=0.1,
    brightness=0.2,
    contrast=0.2,
    saturation=0.2,
    lovasz=1.0,
)

_SCRATCH_SMALL = Recipe(  # ours: the same images without weights; a narrow network on small images sees more of them
    width=0.35,
    size=96,
    epochs=100,
    time_budget_minutes=4.0,
    batch=64,  # of such small images; at 16 to 32 a CPU is busy starting operations
    input_crop=1.0,
    optimizer="adamw",
    learning_rate=4e-3,
    schedule="cosine",
    warmup_epochs=1.0,
    warmup_start=0.05,
    weight_decay=0.05,
    clip_norm=5.0,
    dropout=0.0,
    ema=0.99,
    norm_momentum=0.1,
    crop_scale_min=0.7,
    brightness=0.1,
    contrast=0.1,
)

_HEAD = Recipe(  # ours: a linear classifier on the features of a frozen backbone
    from_weights=True,
    epochs=50,
    batch=64,
    input_crop=1.0,
    optimizer="adamw",
    learning_rate=3e-3,
    schedule="cosine",
    warmup_epochs=1.0,
    weight_decay=0.01,
    label_smoothing=0.05,
    dropout=0.2,
    freeze_blocks=-1,
    freeze_norms=True,
    cached_features=True,
)

RECIPES: Table[Recipe] = Table(
    "recipe",
    {
        "finetune": _FINETUNE,
        "scratch-small": _SCRATCH_SMALL,
        "head": _HEAD,
        "detect": _DETECT,
        "segment": _SEGMENT,
        "mobilenet_v1": _V1,
        "mobilenet_v2": _V2,
        "mobilenet_v3_large": replace(_V3, model="mobilenet_v3_large"),
        "mobilenet_v3_small": replace(_V3, model="mobilenet_v3_small"),
        "mobilenet_v4_conv_small": _V4_CONV_SMALL,
        "mobilenet_v4_conv_medium": _V4_CONV_MEDIUM,
        "mobilenet_v4_conv_large": _V4_CONV_LARGE,
        "mobilenet_v4_hybrid_medium": _V4_HYBRID_MEDIUM,
        "mobilenet_v4_hybrid_large": _V4_HYBRID_LARGE,
    },
)


def recipe(name: str) -> Recipe:
    """The recipe of this name; underscores and hyphens are alike.

    Raises:
        UnknownNameError: no recipe has this name; the message suggests near ones.
    """
    by_plain_name = {known.replace("-", "_"): entry for known, entry in RECIPES.items()}
    return by_plain_name[name.replace("-", "_")] if name.replace("-", "_") in by_plain_name else RECIPES[name]
