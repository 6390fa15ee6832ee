"""DeepLabv3 heads as in Mobile DeepLabv3 (V2, section 6.3), with or without atrous rates, and the DeepLabv3+ decoder."""

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
"""Image size that the V2 paper uses for its PASCAL results, px."""


@dataclass(frozen=True, slots=True)
class DeepLabHead:
    """Parallel branches on one map, concatenated: a 1 x 1, a 3 x 3 at each atrous rate, and image pooling.

    Without atrous rates, this is R-ASPP.

    Args:
        filters: channels of every branch and of the projection that joins them.
        rates: dilations of the 3 x 3 branches; empty for R-ASPP (V3, section 6.4).
        refines: whether a 3 x 3 convolution follows the projection (torchvision).
        dropout: dropout rate before the classifier.
        low: name of the map that the DeepLabv3+ decoder adds; empty for no decoder.
        low_filters: number of channels to which the decoder reduces this map.
        auxiliary: name of the map for the auxiliary head, which runs only in training; empty for none.
        align_corners: whether upsampling aligns the centers of the corner pixels, as TensorFlow 1 did. The same applies when
            the caller upsamples the logits.
        norm_eps, norm_momentum: settings of the head's batch norms, with momentum in PyTorch's sense.
        colors: red, green and blue of each class, 0 to 255; empty if the classes have no colors of their own.
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
        """The head's name in recipes."""
        return "deeplab"

    def fresh(self) -> DeepLabHead:
        """The same head without colors, because they belong to the labels."""
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
        backbone: any network of the family, at any width.
        labels: class names, including the background if it is a class.
        output_stride: input px per px of the head's input map: 8, 16 or 32. Strides beyond it become dilation.
        rates: atrous rates; None for the default at this output stride, `()` for R-ASPP, the V2 paper's choice for phones.
        on: whether the head reads the last map or, as V2* in the paper, the second last, where the backbone then ends.
        reduced: whether the last block has half the filters (RF2), see `with_reduced_last_block`.
        filters: channels of the head.
        decoder: map that the DeepLabv3+ decoder adds, such as `"s4"`; empty for no decoder.
        auxiliary: map for the auxiliary head used in training, such as `"s8"`; empty for none.
        size: input size, px: one side of a square, or height and width.
        colors: colors of the classes, if they have their own.

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
