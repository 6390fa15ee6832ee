"""Classification: the head on the pooled features, and its loss; the counterpart of `runtime/classify.py`."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from mobilenets.net.backbone import Backbone
from mobilenets.specs.model import ClassifierHead
from mobilenets.specs.rows import BackboneSpec


class Classifier(nn.Module):
    """Dropout and one linear layer on the pooled features.

    Args:
        backbone: the backbone that provides the features.
        head: settings of the head.
        classes: number of logits.
    """

    outputs = ("logits",)

    def __init__(self, backbone: BackboneSpec, head: ClassifierHead, classes: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(backbone.dropout)
        self.linear = nn.Linear(backbone.c_features, classes)

    def inputs(self, backbone: Backbone, x: Tensor) -> Tensor:
        """Features, N C, from images, N C H W."""
        return backbone.features(x)

    def forward(self, features: Tensor) -> Tensor:
        """Logits, N classes, from features, N C."""
        logits: Tensor = self.linear(self.dropout(features))
        return logits

    def draw(self) -> None:
        """Initialize the weights from a normal distribution with standard deviation 0.01, and the bias to 0."""
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
        weights: weight of each image, N.
        label_smoothing: share of each target that is spread over all classes.
        class_weights: weight of each class, to balance them.
        log_priors: added to the logits, so that rare classes need a larger margin (Menon et al. 2021, eq. 10).
        over: divisor of the sum over the images; by default the number of images.
    """
    if log_priors is not None:
        logits = logits + log_priors
    each = functional.cross_entropy(logits, targets, class_weights, reduction="none", label_smoothing=label_smoothing)  # N
    return (each * weights).sum() / (len(each) if over is None else over)
