// The parameters of kernels: weights, factors and windows as plain records.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../arithmetic.hpp"

namespace mobilenets {

inline constexpr int panel = 16;         // channels computed side by side
inline constexpr int most_padding = 64;  // bias and factors are padded to a multiple of this many channels
constexpr int panels_of(int channels) { return (channels + panel - 1) / panel; }
constexpr std::size_t index(int i) { return static_cast<std::size_t>(i); }
inline constexpr std::size_t guard = 64;  // bytes after every block of memory that vectors may read but never write

/// The range [from, to).
struct Span {
    int from = 0, to = 0;

    int size() const { return to - from; }
    bool operator==(const Span&) const = default;
};

enum class Clip { none, relu, relu6, hard_swish, hard_sigmoid };  // the activations that a kernel can fuse

/// Weights of a sum of products, packed for one instruction set, and the postprocessing of the sums.
struct FloatWeights {
    int outputs = 0;                // channels
    int stretches = 1, inner = 0;   // number of input stretches of a sum, and numbers in each; depthwise: inner is the taps
    const float* panels = nullptr;  // for each panel: [stretches][inner][16]
    const void* halves = nullptr;   // or, for 16-bit numbers: [stretches][inner / 2][16][2]
    const float* bias = nullptr;    // padded to whole panels
    Clip clip = Clip::none;
};

/// How integer sums are rescaled to the output scale: with arbitrary fixed-point factors (any); with factors that have only
/// positive right shifts (shrinking); in floats that give the same integers, if negative results are clipped anyway (reals) or
/// if all matter (signed_reals); or as floats from the start, between 2**23 and 2**24, where the last bit is worth 1
/// (float_sums).
enum class Rescale : std::uint8_t { any, shrinking, reals, signed_reals, float_sums };

struct ByteWeights {
    int outputs = 0;               // as above
    int stretches = 1, inner = 0;  // likewise; `inner` is rounded up to the instruction set's depth
    const void* panels = nullptr;  // for each panel: [stretches][inner / depth][16][depth] cells
    Rescale rescale = Rescale::any;
    const std::int32_t* bias = nullptr;       // padded to whole panels, channels ordered by `place`; includes the zero point
    const std::int32_t* mantissas = nullptr;  // likewise
    const std::int32_t* lefts = nullptr;      // likewise; null if no factor has a positive shift
    const std::int32_t* rights = nullptr;     // likewise
    const std::int32_t* halves = nullptr;     // half of what the right shifts cut off, likewise, for Rescale::shrinking
    const float* factors = nullptr;           // as floats, likewise
    const float* half = nullptr;              // added to a real number before rounding
    const Rescale* ways = nullptr;            // for each panel; `any` if floats do not give the same integers
    const std::int32_t* back = nullptr;       // undoes the extra amount that the bias contains for floats
    int zero_point = 0, low = -128, high = 127;
    bool makes_cells = false;  // whether the output is stored in the form of `to_cells`; only if a cell is a byte

    bool clips() const { return low > -128 || high < 127; }
};

/// A factor without a positive shift: mantissa * 2**-(31 + right).
struct Shrinking {
    std::int32_t mantissa = 0, right = 0;
};

/// The sum of two integers that are rescaled to a common scale with `bits` extra bits, or their product.
struct ByteCombination {
    static constexpr int bits = 20;
    std::int32_t zero_points[2] = {0, 0};  // of what is read
    Shrinking to_common[2] = {};           // for a sum
    Shrinking to_made = {};
    bool in_reals = false;      // whether floats give the same integers
    float factors[2] = {0, 0};  // of both terms of a sum, or of the product
    float half = 0;
    int zero_point = 0, low = -128, high = 127;

    bool clips() const { return low > -128 || high < 127; }
};

/// One row of a depthwise convolution. Taps outside of the map point to `missing`.
struct DepthwiseRow {
    const std::byte* const* rows = nullptr;  // input rows: each a row of the map, or `missing`
    int out_rows = 1;                        // output rows computed at once, with a stride of 1
    const std::byte* missing = nullptr;      // zeros: for one pixel; for a whole row with ByColumns
    const std::byte** taps = nullptr;        // room for `tap_room` taps
    int width = 0, out_width = 0, channels = 0;
    int kernel_height = 0, kernel_width = 0, stride = 1, dilation = 1, left = 0;
    Span panels = {};  // to compute; for bytes, `depthwise_parts` of the instruction set
};

inline constexpr int pixels_of_taps = 4;  // pixels whose windows are looked up at once
/// The number of taps that a row needs space for.
inline constexpr int tap_room(int taps) { return pixels_of_taps * (taps + 1); }

}  // namespace mobilenets
