// Conversion of real factors to fixed point, when a file is opened.
#pragma once

#include <cmath>

#include "arithmetic.hpp"

namespace mobilenets {

/// The nearest factor with a 31-bit mantissa; 0 for a factor below 2**-32.
inline Factor factor(double real) {
    int shift = 0;
    const double fraction = std::frexp(real, &shift);  // 0.5 <= fraction < 1
    std::int64_t mantissa = rounded(fraction * 2147483648.0);
    if (mantissa == std::int64_t{1} << 31) mantissa >>= 1, ++shift;
    if (shift < -31) return {};
    return {static_cast<std::int32_t>(mantissa), shift};
}

}  // namespace mobilenets
