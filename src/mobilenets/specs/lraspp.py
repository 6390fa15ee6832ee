"""LR-ASPP, V3's lightweight segmentation head (section 6.4, Fig. 10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from msgspec import Meta

from mobilenets.documents import check_ranges
from mobilenets.errors import SpecError
from mobilenets.specs.model import ModelSpec, Task
from mobilenets.specs.rows import BackboneSpec, Channels, Epsilon, Share
from mobilenets.specs.segment import (
    Color,
    On,
    check_colors,
    check_filters,
    check_maps,
    segmentation_backbone,
    segmentation_input,
)

CITYSCAPES = (1024, 2048)
"""Height and width of the images in the paper, px."""
WINDOW = 49
WINDOW_STRIDES = (16, 20)

WindowStride = Annotated[int, Meta(ge=1, le=2**15)]


@dataclass(frozen=True, slots=True)
class LrasppHead:
    """A 1 x 1 branch gated by the pooled map and upsampled to a shallower map, with a classifier on each of the two.

    Args:
        filters: channels of the two branches on the deep map.
        low: name of the shallower map.
        window: side of the pooling window, px of the deep map. A smaller map is pooled globally; at 0, every map is.
        window_strides: vertical and horizontal stride of the pooling window.
        auxiliary: name of the map for the auxiliary head, which runs only in training; empty for none.
        align_corners: whether upsampling aligns the centers of the corner pixels. The same applies to the logits.
        norm_eps, norm_momentum: settings of the head's batch norm, with momentum in PyTorch's sense.
        colors: red, green and blue of each class, 0 to 255; empty if the classes have no colors of their own.
    """

    task: ClassVar[Task] = "segment"
    filters: Channels = 128
    low: str = "s8"
    window: Annotated[int, Meta(ge=0, le=2**15)] = WINDOW
    window_strides: tuple[WindowStride, WindowStride] = WINDOW_STRIDES
    auxiliary: str = ""
    align_corners: bool = False
    norm_eps: Epsilon = 1e-3
    norm_momentum: Share = 0.01
    colors: tuple[Color, ...] = ()

    def __post_init__(self) -> None:
        check_filters(self.filters)
        check_colors(self.colors)
        if not self.low:
            raise SpecError("LR-ASPP needs the name of a shallower map, such as 's8'")
        if self.window < 0 or len(self.window_strides) != 2 or min(self.window_strides) < 1:
            raise SpecError(f"a pooling window of {self.window} with strides {self.window_strides} cannot be")
        check_ranges(self, SpecError)

    @property
    def name(self) -> str:
        """The head's name in recipes."""
        return "lraspp"

    def fresh(self) -> LrasppHead:
        """The same head without colors, because they belong to the labels."""
        return replace(self, colors=())


def lraspp(
    backbone: BackboneSpec,
    labels: Sequence[str],
    *,
    output_stride: int = 16,
    on: On = "last",
    reduced: bool = False,
    filters: int = 128,
    low: str = "s8",
    auxiliary: str = "",
    size: int | tuple[int, int] = CITYSCAPES,
    colors: Sequence[Color] = (),
) -> ModelSpec:
    """A backbone with an LR-ASPP head.

    Args:
        backbone: any network of the family, at any width.
        labels: class names, including the background if it is a class.
        output_stride: input px per px of the deep map: 8, 16 or 32. Strides beyond it become dilation.
        on: whether the head reads the last map or, as in the paper's V2 networks, the second last, where the backbone then
            ends.
        reduced: whether the last block has half the filters (RF2), as the paper recommends; see `with_reduced_last_block`.
        filters: channels of the head.
        low: name of the shallower map.
        auxiliary: map for the auxiliary head used in training, such as `"s16"`; empty for none.
        size: input size, px: one side of a square, or height and width.
        colors: colors of the classes, if they have their own.

    Raises:
        SpecError: a value is out of range.
        UnknownNameError: the backbone has no map of that name.

    >>> from mobilenets.specs.families import backbone
    >>> spec = lraspp(backbone("mobilenet_v3_large"), ["road", "car"], reduced=True)
    >>> spec.backbone.c_out, spec.input.shape
    (480, (1024, 2048))
    """
    body = segmentation_backbone(backbone, output_stride=output_stride, on=on, reduced=reduced)
    head = LrasppHead(
        filters=filters,
        low=low,
        auxiliary=auxiliary,
        norm_eps=body.norm_eps,
        norm_momentum=body.norm_momentum,
        colors=tuple(colors),
    )
    check_maps(body, low, auxiliary)
    return ModelSpec(body, tuple(labels), input=segmentation_input(size, body.in_channels), head=head)
