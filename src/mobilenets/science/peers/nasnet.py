"""NASNet-A for phones (arXiv:1707.07012), of timm's cells; timm itself only has the large network."""

from __future__ import annotations

from torch import Tensor, nn

from mobilenets.errors import MissingExtraError

STEM, FEATURES, CELLS = 32, 1056, 4
"""NASNet-A (4 @ 1056): four normal cells in each of three stages."""


class NasNetMobile(nn.Module):
    """NASNet-A (4 @ 1056), which the V2 paper's Table 4 lists.

    A cell reads the outputs of the two before it. Behind a reduction cell, the second of these is the last normal cell, as in
    the TensorFlow code of the mobile network; timm's large network skips one more.

    Raises:
        MissingExtraError: timm is not installed.
    """

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        try:
            from timm.models.nasnet import NASNetALarge
        except ImportError as error:
            raise MissingExtraError("timm", "papers") from error
        large = NASNetALarge(num_classes=classes, stem_size=STEM, num_features=FEATURES)
        self.stem = nn.ModuleList([large.conv0, large.cell_stem_0, large.cell_stem_1])
        names = [[f"cell_{stage * 6 + i}" for i in range(CELLS)] for stage in range(3)]
        self.cells = nn.ModuleList(getattr(large, name) for stage in names for name in stage)
        self.reductions = nn.ModuleList([large.reduction_cell_0, large.reduction_cell_1])
        self.classifier = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), large.last_linear)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, N classes."""
        first, second, third = self.stem
        before: Tensor = first(x)
        previous: Tensor = second(before)
        current: Tensor = third(before, previous)
        for i, cell in enumerate(self.cells):
            if i and i % CELLS == 0:
                reduced: Tensor = self.reductions[i // CELLS - 1](current, previous)
                previous, current = current, reduced
            previous, current = current, cell(current, previous)
        logits: Tensor = self.classifier(current)
        return logits
