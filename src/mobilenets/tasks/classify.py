"""Classification: the head on the pooled features; partner of `runtime/classify.py`."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Classifier(nn.Module):
    """Dropout and one linear layer.

    Args:
        c_in: features of a picture.
        classes: how many logits.
        dropout: share of features dropped in training.
    """

    def __init__(self, c_in: int, classes: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(c_in, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits, N classes, of features N C."""
        logits: Tensor = self.linear(self.dropout(features))
        return logits


def loss(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
    log_priors: Tensor | None = None,
) -> Tensor:
    """Mean cross entropy.

    Args:
        logits: N classes.
        targets: the class of each picture, N, or the share of each class in it, N classes.
        weights: of each picture, N.
        label_smoothing: share of each target that is spread over all classes.
        class_weights: of each class, to balance them.
        log_priors: added to the logits, so that rare classes need a larger margin (Menon et al. 2021, eq. 10).
    """
    if log_priors is not None:
        logits = logits + log_priors
    each = functional.cross_entropy(logits, targets, class_weights, reduction="none", label_smoothing=label_smoothing)  # N
    return (each * weights).mean()
