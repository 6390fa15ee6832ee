"""Classification: the head on the pooled features; partner of `runtime/classify.py`."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from mobilenets.net.backbone import Backbone
from mobilenets.specs.model import ClassifierHead
from mobilenets.specs.rows import BackboneSpec


class Classifier(nn.Module):
    """Dropout and one linear layer on the pooled features.

    Args:
        backbone: what it stands on.
        head: its settings.
        classes: how many logits.
    """

    outputs = ("logits",)

    def __init__(self, backbone: BackboneSpec, head: ClassifierHead, classes: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(backbone.dropout)
        self.linear = nn.Linear(backbone.c_features, classes)

    def inputs(self, backbone: Backbone, x: Tensor) -> Tensor:
        """Features N C of images N C H W."""
        return backbone.features(x)

    def forward(self, features: Tensor) -> Tensor:
        """Logits, N classes, of features N C."""
        logits: Tensor = self.linear(self.dropout(features))
        return logits

    def draw(self) -> None:
        """Fresh weights: a normal of 0.01, no bias."""
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)


def loss(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
    log_priors: Tensor | None = None,
    over: Tensor | None = None,
) -> Tensor:
    """Mean cross entropy.

    Args:
        logits: N classes.
        targets: the class of each image, N, or the share of each class in it, N classes.
        weights: of each image, N.
        label_smoothing: share of each target that is spread over all classes.
        class_weights: of each class, to balance them.
        log_priors: added to the logits, so that rare classes need a larger margin (Menon et al. 2021, eq. 10).
        over: what the sum over the images is divided by; by default their number.
    """
    if log_priors is not None:
        logits = logits + log_priors
    each = functional.cross_entropy(logits, targets, class_weights, reduction="none", label_smoothing=label_smoothing)  # N
    return (each * weights).sum() / (len(each) if over is None else over)
