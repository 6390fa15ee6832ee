"""DeepLabv3 heads: as Mobile DeepLabv3 has them (V2, section 6.3), with or without atrous rates, and the DeepLabv3+ decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from msgspec import Meta

from mobilenets.documents import check_ranges
from mobilenets.errors import SpecError
from mobilenets.specs.model import ModelSpec, Task
from mobilenets.specs.rows import BackboneSpec, Chance, Channels, Epsilon, Share
from mobilenets.specs.segment import (
    Color,
    On,
    check_colors,
    check_filters,
    check_maps,
    segmentation_backbone,
    segmentation_input,
)

ASPP_16 = (6, 12, 18)
"""The atrous rates at output stride 16 (DeepLabv3, section 4.2); they double at 8 and halve at 32."""
SIZE = 513
"""Side of the images that the V2 paper's PASCAL figures were evaluated on, px."""


@dataclass(frozen=True, slots=True)
class DeepLabHead:
    """Branches on one map, joined: 1 x 1, 3 x 3 at each atrous rate, the pooled image. Without rates it is R-ASPP.

    Args:
        filters: channels of every branch, and of what joins them.
        rates: dilations of the 3 x 3 branches; none for R-ASPP (V3, section 6.4).
        refines: whether a 3 x 3 convolution follows the join (torchvision).
        dropout: share of the channels before the classifier that training drops.
        low: name of the map that the DeepLabv3+ decoder brings in; empty for no decoder.
        low_filters: channels that this map is narrowed to.
        auxiliary: name of the map that a second head learns on, which only training runs; empty for none.
        align_corners: whether maps are enlarged with the centers of corner pixels on each other, as TensorFlow 1 did. It holds
            for the logits too, which whoever reads them enlarges.
        norm_eps, norm_momentum: of the head's batch norms, momentum in PyTorch's sense.
        colors: red, green, blue of each class, 0 to 255; empty for none in particular.
    """

    task: ClassVar[Task] = "segment"
    filters: Channels = 256
    rates: Annotated[tuple[Annotated[int, Meta(ge=1, le=1000)], ...], Meta(max_length=100)] = ()
    refines: bool = False
    dropout: Chance = 0.1
    low: str = ""
    low_filters: Channels = 48
    auxiliary: str = ""
    align_corners: bool = False
    norm_eps: Epsilon = 1e-3
    norm_momentum: Share = 0.01
    colors: tuple[Color, ...] = ()

    def __post_init__(self) -> None:
        check_filters(self.filters)
        check_filters(self.low_filters, "filters of the decoder's map")
        check_colors(self.colors)
        if min(self.rates, default=1) < 1:
            raise SpecError(f"atrous rates {self.rates} are not all positive")
        if not 0 <= self.dropout < 1:
            raise SpecError(f"dropout {self.dropout} is not from 0 to below 1")
        check_ranges(self, SpecError)

    @property
    def name(self) -> str:
        """What recipes call it."""
        return "deeplab"

    def fresh(self) -> DeepLabHead:
        """Without colors, which belong to the labels."""
        return replace(self, colors=())


def deeplab(
    backbone: BackboneSpec,
    labels: Sequence[str],
    *,
    output_stride: int = 16,
    rates: Sequence[int] | None = None,
    on: On = "last",
    reduced: bool = False,
    filters: int = 256,
    decoder: str = "",
    auxiliary: str = "",
    size: int | tuple[int, int] = SIZE,
    colors: Sequence[Color] = (),
) -> ModelSpec:
    """A backbone with a DeepLabv3 head.

    Args:
        backbone: any of the family, at any width.
        labels: class names, background too where it is one.
        output_stride: input px per px of the head's map: 8, 16 or 32. Strides beyond it become dilation.
        rates: atrous rates; None for those of the output stride, `()` for R-ASPP, the V2 paper's candidate for phones.
        on: the head stands on the last map or, as V2* in the paper, on the second last: then the backbone ends there.
        reduced: whether the last block has half the filters (RF2), see `with_reduced_last_block`.
        filters: channels of the head.
        decoder: map that the DeepLabv3+ decoder brings in, `"s4"`; empty for no decoder.
        auxiliary: map for the auxiliary head of training, `"s8"`; empty for none.
        size: of the input, px: a side, or height and width.
        colors: of the classes, if the labels have their own.

    Raises:
        SpecError: a value is out of range.
        UnknownNameError: the backbone has no map of that name.

    >>> from mobilenets.specs.families import backbone
    >>> spec = deeplab(backbone("mobilenet_v2"), ["background", "cat"], rates=(), on="second_last")
    >>> spec.backbone.c_out, spec.backbone.output_stride, spec.head.filters
    (320, 16, 256)
    """
    body = segmentation_backbone(backbone, output_stride=output_stride, on=on, reduced=reduced)
    head = DeepLabHead(
        filters=filters,
        rates=aspp_rates(output_stride) if rates is None else tuple(rates),
        low=decoder,
        auxiliary=auxiliary,
        norm_eps=body.norm_eps,
        norm_momentum=body.norm_momentum,
        colors=tuple(colors),
    )
    check_maps(body, decoder, auxiliary)
    return ModelSpec(body, tuple(labels), input=segmentation_input(size, body.in_channels), head=head)


def aspp_rates(output_stride: int) -> tuple[int, ...]:
    """The three atrous rates at an output stride of 8, 16 or 32.

    >>> aspp_rates(8)
    (12, 24, 36)
    """
    return tuple(rate * 16 // output_stride for rate in ASPP_16)
