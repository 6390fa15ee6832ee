// Integers times a real factor, rounded as the TFLite int8 specification rounds: the scalar arithmetic of
// `mobilenets.deploy.integers`, which every vector kernel equals to the bit.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace mobilenets {

inline constexpr int lowest = -128, highest = 127;  // the range of 8 bits

/// A bfloat16: the upper 16 bits of a 32-bit float.
struct Half {
    std::uint16_t bits = 0;
};

/// A positive real factor: mantissa * 2**(shift - 31).
struct Factor {
    std::int32_t mantissa = 0;
    std::int32_t shift = 0;
};

/// The nearest integer; halves go away from zero.
inline std::int64_t rounded(double real) { return static_cast<std::int64_t>(real + std::copysign(0.5, real)); }

/// The nearest factor of 31 bits; 0 for a factor below 2**-32.
inline Factor factor(double real) {
    int shift = 0;
    const double fraction = std::frexp(real, &shift);  // 0.5 <= fraction < 1
    std::int64_t mantissa = rounded(fraction * 2147483648.0);
    if (mantissa == std::int64_t{1} << 31) mantissa >>= 1, ++shift;
    if (shift < -31) return {};
    return {static_cast<std::int32_t>(mantissa), shift};
}

/// A number of 32 bits times a factor.
inline std::int64_t scaled(std::int64_t number, Factor by) {
    constexpr std::int64_t low = std::numeric_limits<std::int32_t>::min(), high = std::numeric_limits<std::int32_t>::max();
    const int left = std::min(std::max(by.shift, 0), 31), right = std::min(std::max(-by.shift, 0), 62);
    const std::int64_t saturated = std::clamp(number * (std::int64_t{1} << left), low, high);
    const std::int64_t halved = (saturated * by.mantissa + (std::int64_t{1} << 30)) >> 31;
    const std::int64_t half = (std::int64_t{1} << right) >> 1;
    return (halved + half - (halved < 0 && half > 0 ? 1 : 0)) >> right;
}

/// A number as 8 bits; what is beyond the bounds becomes the bound.
inline std::int8_t to_byte(std::int64_t number, int low = lowest, int high = highest) {
    return static_cast<std::int8_t>(std::clamp<std::int64_t>(number, low, high));
}

/// A real number as 8 bits; what is not a number becomes the least.
inline std::int8_t quantized(float real, float scale, int zero_point) {
    constexpr float largest = 1073741824.0F;  // beyond it a quotient is cut off before it becomes an integer
    return to_byte(rounded(static_cast<double>(std::min(std::max(-largest, real / scale), largest))) + zero_point);
}

}  // namespace mobilenets
