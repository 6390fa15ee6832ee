// Integer sums that are floats from the start.
//
// Between 2**23 and 2**24, the last bit of a float is worth 1. A sum that is initialized with the bits of such a float and
// accumulated as an integer is a valid float at its end, without a conversion. Multiplied by a factor, plus a number that moves
// the product back into this range, it is rounded once, and its last bits are the result: one instruction per sum instead of
// three.
#include <cmath>

#include "step.hpp"

namespace mobilenets {

namespace {

constexpr int float_bits = 23;
constexpr std::int64_t first_whole = std::int64_t{1} << float_bits;
constexpr std::int32_t bits_of_first_whole = 0x4B000000;
constexpr std::int64_t middle = std::int64_t{1} << 22;  // represents a result of 0; its lowest 16 bits are zero
constexpr double largest_result = 32000;                // of 16 bits

/// The smallest t >= 0 with low <= t * factor % modulus <= high, or -1; 0 <= low <= high < modulus, factor < modulus.
std::int64_t first_within(std::int64_t factor, std::int64_t modulus, std::int64_t low, std::int64_t high) {
    if (low == 0) return 0;
    if (factor == 0) return -1;
    if (2 * factor > modulus) return first_within(modulus - factor, modulus, modulus - high, modulus - low);
    const std::int64_t times = (low + factor - 1) / factor;
    if (times * factor <= high) return times;
    // t * factor is in low to high plus u * modulus; no multiple of the factor is in low to high, so the smallest u decides.
    const auto left = [factor](std::int64_t x) { return x % factor == 0 ? 0 : factor - x % factor; };
    const std::int64_t u = first_within(modulus % factor, factor, left(high), left(low));
    return u < 0 ? -1 : (low + u * modulus + factor - 1) / factor;
}

constexpr std::int64_t remainder(std::int64_t x, std::int64_t modulus) {
    const std::int64_t rest = x % modulus;
    return rest < 0 ? rest + modulus : rest;
}

}  // namespace

/// A sum s is represented as the float 2**23 + start + s, and becomes floor(s * factor + half) + zero point, where `half` is
/// about 1/2; each result restricts it to an interval. The number added is an integer, so `half` is the fractional part of
/// (2**23 + start) * factor, and a `start` is searched whose fractional part is in the interval.
///
/// With a right shift, positive sums are rounded up and negative ones down a second time. Then no `half` is right for both, and
/// the method does not work if negative results matter.
Real float_sum_of(Factor by, int zero_point, bool is_signed, std::int64_t least, std::int64_t greatest) {
    constexpr int largest_right = 15, largest_bits = 38;
    const std::int64_t room = first_whole - 1 - (greatest - least);
    if (by.mantissa < 1 << 30 || by.shift > 0 || -by.shift > largest_right || room < 0) return {};
    if (is_signed && by.shift < 0) return {};
    if (least < -2 * first_whole || greatest > 2 * first_whole) return {};  // far from zero because of the bias
    const auto nearest = static_cast<float>(std::ldexp(static_cast<double>(by.mantissa), by.shift - 31));
    if (static_cast<double>(greatest) * nearest > largest_result || static_cast<double>(-least) * nearest > largest_result)
        return {};
    for (const float factor : {nearest, std::nextafter(nearest, 0.0F), std::nextafter(nearest, 2 * nearest)}) {
        int exponent = 0;
        const auto mantissa = static_cast<std::int64_t>(std::ldexp(std::frexp(factor, &exponent), float_bits + 1));
        const int bits = float_bits + 1 - exponent;  // factor = mantissa / 2**bits
        if (bits < 1 || bits > largest_bits) continue;
        const std::int64_t one = std::int64_t{1} << bits;
        std::int64_t from = 0, to = one;  // bounds of half * 2**bits
        LeastSums sums(by);
        for (int k = 1; k <= highest - lowest; ++k, sums.next()) {
            const std::int64_t sum = sums.sum(), negative = sum + (sums.is_tie() ? 1 : 0);
            const bool reaches = sum <= greatest, falls = is_signed && negative <= -least;
            if (k <= highest - zero_point) {
                if (reaches) from = std::max(from, k * one - sum * mantissa);
                to = std::min(to, k * one - std::min(sum - 1, greatest) * mantissa);
            }
            if (is_signed && k <= zero_point - lowest) {
                from = std::max(from, std::min(negative - 1, -least) * mantissa - (k - 1) * one);
                if (falls) to = std::min(to, negative * mantissa - (k - 1) * one);
            }
            if (!reaches && !falls) break;
        }
        const std::int64_t low = from + 1 - one / 2, high = to - 1 - one / 2;
        if (low > high) continue;
        const std::int64_t first = first_whole - least;  // of the numbers 2**23 + start
        const std::int64_t lowest_fraction = remainder(low - first * mantissa, one), wide = lowest_fraction + high - low;
        const std::int64_t more = wide >= one ? 0 : first_within(mantissa % one, one, lowest_fraction, wide);
        if (more < 0 || more > room) continue;
        const std::int64_t start = first + more, whole = (start * mantissa + one / 2) >> bits;
        const auto added = static_cast<float>(first_whole + middle + zero_point - whole);
        return {factor, added, static_cast<std::int32_t>(bits_of_first_whole + start - first_whole), true};
    }
    return {};
}

}  // namespace mobilenets
