// What kernels are told: weights, factors and windows as plain records.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../arithmetic.hpp"

namespace mobilenets {

inline constexpr int panel = 16;         // channels that are computed side by side
inline constexpr int most_padding = 64;  // channels that bias and factors are padded to
constexpr int panels_of(int channels) { return (channels + panel - 1) / panel; }
constexpr std::size_t index(int i) { return static_cast<std::size_t>(i); }
inline constexpr std::size_t guard = 64;  // bytes behind every block of memory that a vector may read, but never writes

/// The range [from, to).
struct Span {
    int from = 0, to = 0;

    int size() const { return to - from; }
    bool operator==(const Span&) const = default;
};

enum class Clip { none, relu, relu6, hard_swish, hard_sigmoid };  // the curves that a kernel applies while it stores

/// Weights of a sum of products as one instruction set wants them, and how the sums become numbers.
struct FloatWeights {
    int outputs = 0;                // channels
    int stretches = 1, inner = 0;   // in which the numbers lie that a sum multiplies, and how many of each; taps if depthwise
    const float* panels = nullptr;  // of each panel: [stretches][inner][16]
    const void* halves = nullptr;   // or, where numbers have 16 bits: [stretches][inner / 2][16][2]
    const float* bias = nullptr;    // padded to whole panels
    Clip clip = Clip::none;
};

/// How integer sums are brought to the scale of what is made: by any factors; by factors whose right shifts are all positive;
/// in floats that give the same integers, for sums of which the negative ones become the least number, or all matter; or as
/// floats, which the sums are from the start: those between 2**23 and 2**24, whose last bit is worth 1.
enum class Rescale : std::uint8_t { any, shrinking, reals, signed_reals, float_sums };

struct ByteWeights {
    int outputs = 0;               // as above
    int stretches = 1, inner = 0;  // likewise; `inner` is rounded up to the instruction set's depth
    const void* panels = nullptr;  // of each panel: [stretches][inner / depth][16][depth] cells
    Rescale rescale = Rescale::any;
    const std::int32_t* bias = nullptr;       // padded to whole panels, channels in their places; it includes the zero point
    const std::int32_t* mantissas = nullptr;  // likewise
    const std::int32_t* lefts = nullptr;      // likewise; null if no factor has a positive shift
    const std::int32_t* rights = nullptr;     // likewise
    const std::int32_t* halves = nullptr;     // of what the right shifts cut off, likewise, for Rescale::shrinking
    const float* factors = nullptr;           // as floats, likewise
    const float* half = nullptr;              // what is added to a real number before it is rounded
    const Rescale* ways = nullptr;            // of each panel: `any` where floats do not give the same integers
    const std::int32_t* back = nullptr;       // what takes back what the bias has more for floats
    int zero_point = 0, low = -128, high = 127;
    bool makes_cells = false;  // whether what is made is stored as `to_cells` would leave it; only if a cell is a byte

    bool clips() const { return low > -128 || high < 127; }
};

/// A factor without a positive shift: mantissa * 2**-(31 + right).
struct Shrinking {
    std::int32_t mantissa = 0, right = 0;
};

/// The sum of two integers, each brought to a common scale with `bits` more bits, or their product.
struct ByteCombination {
    static constexpr int bits = 20;
    std::int32_t zero_points[2] = {0, 0};  // of what is read
    Shrinking to_common[2] = {};           // for a sum
    Shrinking to_made = {};
    bool in_reals = false;      // whether floats give the same integers
    float factors[2] = {0, 0};  // of both numbers of a sum, or of the product
    float half = 0;
    int zero_point = 0, low = -128, high = 127;

    bool clips() const { return low > -128 || high < 127; }
};

/// One row of a depthwise convolution. Taps that lie beside the map point to `missing`.
struct DepthwiseRow {
    const std::byte* const* rows = nullptr;  // that are seen: of each, the map's row, or `missing`
    int out_rows = 1;                        // that are made at once, with a stride of 1
    const std::byte* missing = nullptr;      // what stands for zero: of one place; of a row for ByColumns
    const std::byte** taps = nullptr;        // room for places of `tap_room` taps
    int width = 0, out_width = 0, channels = 0;
    int kernel_height = 0, kernel_width = 0, stride = 1, dilation = 1, left = 0;
    Span panels = {};  // that are computed; of bytes, `depthwise_parts` of the instruction set
};

inline constexpr int pixels_of_taps = 4;  // whose windows are looked up at once
/// Places of taps that a row needs room for.
inline constexpr int tap_room(int taps) { return pixels_of_taps * (taps + 1); }

}  // namespace mobilenets
