"""Classification: the head on the pooled features; partner of `runtime/classify.py`."""

from __future__ import annotations

from torch import Tensor, nn


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
