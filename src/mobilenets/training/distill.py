"""Distillation: how far a network is from the answers of another one, its teacher, task by task (Hinton et al. 2015)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mobilenets.specs.model import Head, Task
from mobilenets.specs.ssd import SsdHead

Outputs = Any
"""What a head returns: a tensor, or a tuple of several."""


def classify(outputs: Tensor, taught: Tensor, head: Head) -> Tensor:
    """Divergence of the teacher's shares of the classes from the network's, for each image, N.

    Args:
        outputs, taught: logits, N classes.
        head: of both.
    """
    return _divergence(outputs, taught).sum(1)


def segment(outputs: Tensor, taught: Tensor, head: Head) -> Tensor:
    """The same, mean over the pixels of the logits, N.

    Args:
        outputs, taught: logits, N classes h w.
        head: of both.
    """
    return _divergence(outputs, taught).sum(1).mean((1, 2))


def detect(outputs: tuple[Tensor, Tensor], taught: tuple[Tensor, Tensor], head: Head) -> Tensor:
    """Divergence of the scores at all anchors, plus smooth L1 of the offsets where the teacher sees an object, N.

    Both are divided by the number of anchors at which the teacher sees one: the sum of its scores, but at least 1.

    Args:
        outputs, taught: logits, N A columns, and offsets, N A 4.
        head: of both.
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
"""The distance of each image, 0 where both networks answer the same."""


def _divergence(logits: Tensor, taught: Tensor, axis: int = 1) -> Tensor:
    """Terms of the Kullback-Leibler divergence along an axis, in the shape of the logits."""
    return functional.kl_div(
        torch.log_softmax(logits, axis), torch.log_softmax(taught, axis), reduction="none", log_target=True
    )
