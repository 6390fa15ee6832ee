// Fixed-point multiplication with the rounding of the TFLite int8 specification: the scalar arithmetic of
// `mobilenets.deploy.integers`, with which every vector kernel is bit-exact. It only needs a freestanding compiler.
#pragma once

#include <cstdint>
#include <limits>

namespace mobilenets {

inline constexpr int lowest = -128, highest = 127;  // the range of 8 bits

/// The kind of numbers packed to bytes: integers that include the zero point, integers without it, or floats between 2**23 and
/// 2**24, whose lowest 16 bits are such integers.
enum class Packing { whole, without_zero_point, in_floats };

/// The rounding direction of a floating-point result.
enum class Direction { nearest, down, to_zero };

/// A bfloat16: the upper 16 bits of a 32-bit float.
struct Half {
    std::uint16_t bits = 0;
};

/// A positive real factor: mantissa * 2**(shift - 31).
struct Factor {
    std::int32_t mantissa = 0;
    std::int32_t shift = 0;
};

// If a number is NaN, the first argument is returned, as by std::min and std::max.
template <typename Number>
constexpr Number smaller(Number a, Number b) {
    return b < a ? b : a;
}
template <typename Number>
constexpr Number larger(Number a, Number b) {
    return a < b ? b : a;
}
template <typename Number>
constexpr Number within(Number x, Number low, Number high) {
    return smaller(larger(x, low), high);
}

/// The nearest integer; halves are rounded away from zero.
constexpr std::int64_t rounded(double real) { return static_cast<std::int64_t>(real + (real < 0 ? -0.5 : 0.5)); }

/// A 32-bit number times a factor.
constexpr std::int64_t scaled(std::int64_t number, Factor by) {
    constexpr std::int64_t low = std::numeric_limits<std::int32_t>::min(), high = std::numeric_limits<std::int32_t>::max();
    const int left = within<int>(by.shift, 0, 31), right = within<int>(-by.shift, 0, 62);
    const std::int64_t saturated = within(number * (std::int64_t{1} << left), low, high);
    const std::int64_t halved = (saturated * by.mantissa + (std::int64_t{1} << 30)) >> 31;
    const std::int64_t half = (std::int64_t{1} << right) >> 1;
    return (halved + half - (halved < 0 && half > 0 ? 1 : 0)) >> right;
}

/// A number as an 8-bit integer, clipped to the bounds.
constexpr std::int8_t to_byte(std::int64_t number, int low = lowest, int high = highest) {
    return static_cast<std::int8_t>(within(number, std::int64_t{low}, std::int64_t{high}));
}

/// A real number quantized to 8 bits; NaN becomes the smallest integer.
constexpr std::int8_t quantized(float real, float scale, int zero_point) {
    constexpr float largest = 1073741824.0F;  // quotients are clipped to this before they become integers
    return to_byte(rounded(static_cast<double>(smaller(larger(-largest, real / scale), largest))) + zero_point);
}

}  // namespace mobilenets
