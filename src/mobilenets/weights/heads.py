"""The meaning of a file's outputs: logits of classes, or one output that separates two classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mobilenets.errors import WeightsError

Ending = Literal["", "softmax", "sigmoid"]
"""The activation after a file's last layer; "" if there is none, or the file cannot tell."""
BINARY_LOSSES = ("binary_crossentropy", "binarycrossentropy", "binary_focal_crossentropy", "binaryfocalcrossentropy")
CLASS_LOSSES = ("categorical_crossentropy", "categoricalcrossentropy", "sparse_categorical_crossentropy",
                "sparsecategoricalcrossentropy", "categorical_focal_crossentropy", "categoricalfocalcrossentropy")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Output:
    """How a file's last layer was used.

    Args:
        origin: the file, for messages.
        ending: the activation after the layer.
        loss: the training loss, by Keras's name; empty if the file does not say.
        labels: number of class names that the user gave; 0 for none.
    """

    origin: str
    ending: Ending = ""
    loss: str = ""
    labels: int = 0


def classifier(weight: Tensor, bias: Tensor | None, output: Output) -> dict[str, Tensor]:
    """Weight (classes x features) and bias of an equivalent classifier, whose softmax gives the file's own scores.

    Args:
        weight: outputs x features.
        bias: bias of each output; None for zeros.
        output: how the layer was used.

    Raises:
        WeightsError: its outputs are not scores of mutually exclusive classes.
    """
    bias = torch.zeros(len(weight)) if bias is None else bias
    if len(weight) == 1:
        _check_binary(output)
        return _two_classes(weight, bias)
    binary = output.loss in BINARY_LOSSES
    if output.ending == "sigmoid" or (binary and output.ending == ""):
        raise WeightsError(
            f"'{output.origin}' has {len(weight)} independent sigmoid outputs (several labels per image)",
            hint="a classifier here gives each image exactly 1 label; train one: mobilenets train DATA",
        )
    if output.ending == "" and output.loss and output.loss not in CLASS_LOSSES:
        raise WeightsError(
            f"'{output.origin}' has {len(weight)} outputs that were trained with '{output.loss}', so they are not classes",
            hint="only classifiers can be converted; without its top the file is a backbone to train from",
        )
    return {"weight": weight, "bias": bias}


def _check_binary(output: Output) -> None:
    if output.ending == "softmax":
        raise WeightsError(
            f"'{output.origin}' has a softmax over 1 output, which is 1 for every image", hint="train it again with 2 outputs"
        )
    known = output.ending == "sigmoid" or output.loss in BINARY_LOSSES
    if output.loss and not known:
        raise WeightsError(
            f"'{output.origin}' has 1 output that was trained with '{output.loss}', a number and not a class",
            hint="only classifiers can be converted; without its top the file is a backbone to train from",
        )
    if not known and output.labels != 2:
        raise WeightsError(
            f"'{output.origin}' has 1 output without an activation: the logit of 2 classes, or a number",
            hint="for 2 classes, name them, the one of negative logits first: --labels labels.txt",
        )


def _two_classes(weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """Two logits, 0 and z, whose softmax is 1 - sigmoid(z) and sigmoid(z)."""
    return {"weight": torch.cat([torch.zeros_like(weight), weight]), "bias": torch.cat([torch.zeros_like(bias), bias])}
