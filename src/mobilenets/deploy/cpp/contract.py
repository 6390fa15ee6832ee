"""`contract.hpp`: how an image becomes the network's input, for the example."""

from __future__ import annotations

from mobilenets.deploy.cpp.text import real
from mobilenets.specs.model import InputContract

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

}}  // namespace mobilenet
"""


def contract_header(contract: InputContract) -> str:
    """The text of the header."""
    return _TEXT.format(
        resize=contract.resize,
        crop=repr(float(contract.crop)),
        interpolation=contract.interpolation,
        mean=", ".join(map(real, contract.mean)),
        means=len(contract.mean),
    )
