"""timm's state dicts: MobileNetV1 to V4, any width and depth; the stages in timm's names determine the strides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mobilenets.errors import WeightsError
from mobilenets.specs.families import backbone
from mobilenets.specs.model import IMAGENET_MEAN, IMAGENET_STD, InputContract
from mobilenets.specs.rows import Activation, Attention, BackboneSpec, Bottleneck, Conv, Fused, Row, Separable, Universal
from mobilenets.weights.assemble import Block, Network, Tensors
from mobilenets.weights.dense import top_of
from mobilenets.weights.heads import Output
from mobilenets.weights.layout import chosen, dense_layers, left_out
from mobilenets.weights.told import NOTHING_TOLD, Told

CONTRACT = InputContract(
    size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, resize="shorter_side_then_crop", crop=0.875, interpolation="bicubic"
)

Layers = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Stages:
    """What the names of a state dict cannot tell.

    Args:
        strides: stride of the first block of each stage.
        activation: activation of the stem, the last stages and the layers after pooling.
        relu_stages: how many of the first stages use ReLU instead (V3).
        departs: whether timm differs from the paper's activation, in every layer.
    """

    strides: tuple[int, ...]
    activation: Activation
    relu_stages: int = 0
    departs: bool = False


# fmt: off
STAGES = {
    "mobilenet_v1":                     Stages((1, 2, 2, 2, 2),       "relu6", departs=True),
    "mobilenet_v2":                     Stages((1, 2, 2, 2, 1, 2, 1), "relu6"),
    "mobilenet_v3_large":               Stages((1, 2, 2, 2, 1, 2, 1), "hard_swish", relu_stages=3),
    "mobilenet_v3_small":               Stages((2, 2, 2, 1, 2, 1),    "hard_swish", relu_stages=2),
    "mobilenet_v3_large_minimalistic":  Stages((1, 2, 2, 2, 1, 2, 1), "relu"),
    "mobilenet_v3_small_minimalistic":  Stages((2, 2, 2, 1, 2, 1),    "relu"),
    "mobilenet_v4_conv_small":          Stages((2, 2, 2, 2, 1),       "relu"),
    "mobilenet_v4_conv_medium":         Stages((2, 2, 2, 2, 1),       "relu"),
    "mobilenet_v4_conv_large":          Stages((2, 2, 2, 2, 1),       "relu"),
    "mobilenet_v4_hybrid_medium":       Stages((2, 2, 2, 2, 1),       "relu"),
    "mobilenet_v4_hybrid_large":        Stages((2, 2, 2, 2, 1),       "gelu"),
}
V4_BLOCKS: dict[tuple[int, ...], str] = {  # number of blocks of the third and fourth stage
    (6, 6):   "mobilenet_v4_conv_small",
    (8, 11):  "mobilenet_v4_conv_medium",
    (11, 13): "mobilenet_v4_conv_large",
    (12, 16): "mobilenet_v4_hybrid_medium",
    (15, 18): "mobilenet_v4_hybrid_large",
}
OTHER = {  # the same names and shapes as ours, but another network
    "mobilenetv3_rw":               "squeeze-excite with hard-swish inside",
    "mobilenetv4_conv_aa_medium":   "average pooling in place of strides",
    "mobilenetv4_conv_aa_large":    "average pooling in place of strides",
    "mobilenetv4_conv_blur_medium": "blur pooling in place of strides",
}
TWINS = ("mobilenet_v4_conv_medium", "mobilenet_v4_conv_large")  # `OTHER` has variants of these with the very same tensors
FROM_TENSORFLOW = (  # padded as in TensorFlow, batch norm epsilon 1e-3
    "tf_mobilenetv3_large_075",
    "tf_mobilenetv3_large_100",
    "tf_mobilenetv3_large_minimal_100",
    "tf_mobilenetv3_small_075",
    "tf_mobilenetv3_small_100",
    "tf_mobilenetv3_small_minimal_100",
)
KINDS: tuple[tuple[str, type[Row]], ...] = (  # the tensor that reveals a kind of block, most specific first
    ("attn.query.proj.weight", Attention),
    ("pw_exp.conv.weight",     Universal),
    ("conv_exp.weight",        Fused),
    ("conv_pwl.weight",        Bottleneck),
    ("conv_dw.weight",         Separable),
    ("conv.weight",            Conv),
)
LAYERS: dict[type[Row], Layers] = {  # ours, timm's convolution, timm's norm
    Conv:       (("", "conv", "bn1"),),
    Separable:  (("depthwise", "conv_dw", "bn1"), ("pointwise", "conv_pw", "bn2")),
    Bottleneck: (("expand", "conv_pw", "bn1"), ("depthwise", "conv_dw", "bn2"), ("project", "conv_pwl", "bn3")),
    Fused:      (("expand", "conv_exp", "bn1"), ("project", "conv_pwl", "bn2")),
    Universal:  (("start", "dw_start.conv", "dw_start.bn"), ("expand", "pw_exp.conv", "pw_exp.bn"),
                 ("middle", "dw_mid.conv", "dw_mid.bn"), ("project", "pw_proj.conv", "pw_proj.bn")),
    Attention:  (("key_reduce", "attn.key.down_conv", "attn.key.norm"),
                 ("value_reduce", "attn.value.down_conv", "attn.value.norm")),
}
UNEXPANDED: Layers = (("depthwise", "conv_dw", "bn1"), ("project", "conv_pw", "bn2"))  # the first block of V2 and V3
SINGLE = {  # tensors without batch norm: timm's, ours
    "se.conv_reduce.weight":    "squeeze.reduce.weight",
    "se.conv_reduce.bias":      "squeeze.reduce.bias",
    "se.conv_expand.weight":    "squeeze.expand.weight",
    "se.conv_expand.bias":      "squeeze.expand.bias",
    "layer_scale.gamma":        "scale.weight",
    "norm.weight":              "norm.weight",
    "norm.bias":                "norm.bias",
    "norm.running_mean":        "norm.running_mean",
    "norm.running_var":         "norm.running_var",
    "attn.query.proj.weight":   "query.weight",
    "attn.key.proj.weight":     "key.weight",
    "attn.value.proj.weight":   "value.weight",
    "attn.output.proj.weight":  "project.weight",
}
# fmt: on


def read(
    state: Mapping[str, Tensor],
    origin: str,
    *,
    architecture: str = "",
    ordered: bool = True,
    told: Told = NOTHING_TOLD,
    labels: int = 0,
) -> Network:
    """The network in a timm state dict, under any prefix, with timm's head or another one of fully connected layers.

    Args:
        state: tensors by the file's names.
        origin: the file, for messages.
        architecture: timm's name, such as `"tf_mobilenetv3_large_100"`. The tensors do not reveal the padding and batch norm
            epsilon of the TensorFlow ports; without a name, the file is taken for one that was trained in timm. Nor do they
            reveal the pooling that V4's `aa` and `blur` variants use instead of strides; without a name, it is taken for the
            plain network.
        ordered: whether the tensors are in the order of the layers.
        told: the user's statements about the file.
        labels: number of class names that the user gave.

    Raises:
        WeightsError: it is not a MobileNet, or it is one that computes something else with the same shapes.
    """
    if architecture in OTHER:
        raise WeightsError(f"{architecture} is another network: it has {OTHER[architecture]}")
    layout = chosen(state, origin, key=told.key)
    if layout is None or layout.kind != "timm":
        raise WeightsError(f"'{origin}' has no 'conv_stem.weight' and is none of timm's MobileNets")
    tensors = Tensors(layout.body, origin)
    name = _name(tensors, origin)
    stages = STAGES[name]
    from_tensorflow = architecture in FROM_TENSORFLOW
    like = backbone(
        name,
        padding="tf" if from_tensorflow else "symmetric",
        activation=stages.activation if stages.departs else None,
        norm_eps=1e-3 if from_tensorflow else 1e-5,
        norm_momentum=0.1,
    )
    blocks = [Block(Conv, tensors.conv("", "conv_stem", "bn1"), 2, stages.activation)]
    for s, stride in enumerate(stages.strides):
        activation = "relu" if s < stages.relu_stages else stages.activation
        blocks += [
            _block(tensors, f"blocks.{s}.{i}.", stride if i == 0 else 1, activation, like)
            for i in tensors.numbers(f"blocks.{s}.")
        ]
    tail: list[Block] = []
    if tensors.has("conv_head.weight"):
        last = _last(tensors)
        (blocks if "bn2.weight" in layout.body else tail).append(Block(Conv, last, activation=stages.activation))
    tensors.done()
    features = _channels((tail or blocks)[-1].tensors)
    top = top_of(
        dense_layers(layout.rest, origin, ordered=ordered), features, told.hidden_activation, Output(origin, labels=labels)
    )
    notes = (*top.notes, *left_out(layout))
    return Network(like, blocks, CONTRACT, [*tail, *top.tail], top.head, notes=notes)


def _channels(last: Mapping[str, Tensor]) -> int:
    """Output channels of the last layer before the head."""
    ends = ("norm.bias", "conv.bias")
    return next(len(tensor) for name, tensor in reversed(list(last.items())) if name.endswith(ends))


def _last(tensors: Tensors) -> dict[str, Tensor]:
    """The layer between the blocks and the classifier: before pooling in V1 and V2, after it in V3 (no batch norm) and V4."""
    for norm in ("bn2", "norm_head"):
        if tensors.has(f"{norm}.running_mean"):
            return tensors.conv("", "conv_head", norm)
    weight = tensors.take("conv_head.weight")
    bias = tensors.take("conv_head.bias") if tensors.has("conv_head.bias") else torch.zeros(len(weight))
    return {"conv.weight": weight, "conv.bias": bias}


def _block(tensors: Tensors, lead: str, stride: int, activation: Activation, like: BackboneSpec) -> Block:
    kind = next((kind for key, kind in KINDS if tensors.has(lead + key)), None)
    if kind is None:
        raise WeightsError(f"'{tensors.origin}' has a block at '{lead}' of a kind that no MobileNet has")
    layers = LAYERS[kind]
    if kind is Separable and not any(isinstance(row, Separable) for row in like.rows):
        kind, layers = Bottleneck, UNEXPANDED
    taken: dict[str, Tensor] = {}
    for ours, conv, norm in layers:
        if tensors.has(f"{lead}{conv}.weight"):
            taken.update(tensors.conv(ours, lead + conv, lead + norm))
    taken.update({ours: tensors.take(lead + key) for key, ours in SINGLE.items() if tensors.has(lead + key)})
    return Block(kind, taken, stride, activation)


def _name(tensors: Tensors, origin: str) -> str:
    """Our network that matches timm's names and counts."""
    counts = tuple(len(tensors.numbers(f"blocks.{s}.")) for s in tensors.numbers("blocks."))
    if tensors.has("blocks.2.0.pw_exp.conv.weight"):
        name = V4_BLOCKS.get(counts[2:4], "")
    elif tensors.has("bn2.running_mean") and tensors.has("blocks.1.0.conv_pwl.weight"):
        name = "mobilenet_v2"
    elif not tensors.has("blocks.1.0.conv_pwl.weight"):
        name = "mobilenet_v1"
    else:
        name = {7: "mobilenet_v3_large", 6: "mobilenet_v3_small"}.get(len(counts), "")
        if name and not tensors.has("blocks.2.0.se.conv_reduce.weight"):
            name += "_minimalistic"
    if not name or len(counts) != len(STAGES[name].strides):
        raise WeightsError(f"'{origin}' has {counts} blocks a stage, which none of timm's MobileNets has")
    if name.startswith("mobilenet_v3") and not tensors.has("conv_head.bias"):
        raise WeightsError(f"'{origin}' looks like mobilenetv3_rw, which has {OTHER['mobilenetv3_rw']}")
    return name
