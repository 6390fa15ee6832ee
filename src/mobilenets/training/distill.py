"""Distillation: the distance between a network's outputs and those of its teacher, by task (Hinton et al. 2015)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mobilenets.specs.model import Head, Task
from mobilenets.specs.ssd import SsdHead

Outputs = Any
"""A head's output: a tensor, or a tuple of several."""


def classify(outputs: Tensor, taught: Tensor, head: Head) -> Tensor:
    """KL divergence of the teacher's class distribution from the network's, for each image, N.

    Args:
        outputs, taught: logits of the network and the teacher, N classes.
        head: the head that both have.
    """
    return _divergence(outputs, taught).sum(1)


def segment(outputs: Tensor, taught: Tensor, head: Head) -> Tensor:
    """KL divergence as in `classify`, averaged over the pixels of the logits, N.

    Args:
        outputs, taught: logits of the network and the teacher, N classes h w.
        head: the head that both have.
    """
    return _divergence(outputs, taught).sum(1).mean((1, 2))


def detect(outputs: tuple[Tensor, Tensor], taught: tuple[Tensor, Tensor], head: Head) -> Tensor:
    """KL divergence of the scores at all anchors, plus smooth L1 loss of the offsets where the teacher sees an object, N.

    Both are divided by the expected number of anchors with an object: the sum of the teacher's scores, but at least 1.

    Args:
        outputs, taught: logits, N A columns, and offsets, N A 4, of the network and the teacher.
        head: the head that both have.
    """
    assert isinstance(head, SsdHead)
    (logits, offsets), (their_logits, their_offsets) = outputs, taught
    if head.activation == "softmax":
        seen = 1 - their_logits.softmax(2)[:, :, 0]  # N A
        apart = _divergence(logits, their_logits, axis=2).sum((1, 2))
    else:
        scores = their_logits.sigmoid()
        seen = scores.amax(2)
        entropy = functional.binary_cross_entropy_with_logits(their_logits, scores, reduction="none")
        apart = (functional.binary_cross_entropy_with_logits(logits, scores, reduction="none") - entropy).sum((1, 2))
    moved = functional.smooth_l1_loss(offsets, their_offsets, reduction="none").sum(2)  # N A
    return (apart + (moved * seen).sum(1)) / seen.sum(1).clamp(min=1)


DISTANCES: dict[Task, Callable[[Outputs, Outputs, Head], Tensor]] = {
    "classify": classify,
    "detect": detect,
    "segment": segment,
}
"""The distance for each image, 0 if both networks give the same outputs."""


def _divergence(logits: Tensor, taught: Tensor, axis: int = 1) -> Tensor:
    """The terms of the Kullback-Leibler divergence along an axis, in the shape of the logits."""
    return functional.kl_div(
        torch.log_softmax(logits, axis), torch.log_softmax(taught, axis), reduction="none", log_target=True
    )
