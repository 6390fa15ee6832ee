"""`contract.hpp`: the preprocessing and the test-time views of the network's input, for the example program."""

from __future__ import annotations

from mobilenets.deploy.cpp.text import real, record
from mobilenets.runtime.views import axes_of
from mobilenets.specs.model import Head, InputContract

_DOWN, _ACROSS = 2, 3  # axes of N C H W

_TEXT = """\
// How an image becomes the network's input. `image.hpp` does it.
#pragma once

namespace mobilenet {{

enum class Resize {{ crop_then_stretch, shorter_side_then_crop, stretch, letterbox, sample }};
enum class Interpolation {{ nearest, bilinear, bicubic, lanczos }};

inline constexpr Resize resize = Resize::{resize};
inline constexpr double crop = {crop};  // share of the image that the network sees
inline constexpr Interpolation interpolation = Interpolation::{interpolation};
inline constexpr float mean[] = {{{mean}}};  // of each channel, 0 to 1, or of all
inline constexpr int means = {means};

inline constexpr bool mirrors_across = {across}, mirrors_down = {down};  // views whose logits are averaged with the image's

}}  // namespace mobilenet
"""


def contract_header(contract: InputContract, head: Head) -> str:
    """The text of `contract.hpp`."""
    views = {axis for axes in axes_of(head) for axis in axes}
    return _TEXT.format(
        resize=contract.resize,
        crop=repr(float(contract.crop)),
        interpolation=contract.interpolation,
        mean=", ".join(map(real, contract.mean)),
        means=len(contract.mean),
        across=record(_ACROSS in views),
        down=record(_DOWN in views),
    )
