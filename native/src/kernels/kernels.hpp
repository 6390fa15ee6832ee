// What the engine asks of a processor: a table of functions, one table for each instruction set.
//
// Files of this folder are compiled once for each instruction set. They use nothing of the standard library that is not
// inlined, so that no function compiled for one processor is linked where another one runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../arithmetic.hpp"

namespace mobilenets {

inline constexpr int panel = 16;         // channels that are computed side by side
inline constexpr int most_padding = 64;  // channels that bias and factors are padded to
inline constexpr int panels_of(int channels) { return (channels + panel - 1) / panel; }
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
/// or in floats that give the same integers, for sums of which the negative ones become the least number, or all matter.
enum class Rescale : std::uint8_t { any, shrinking, reals, signed_reals };

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
    const float* half = nullptr;              // what is added before a real number is cut off
    const bool* reals_hold = nullptr;         // of each panel: whether the floats give the same integers
    const std::int32_t* back = nullptr;       // what takes back what the bias has more for Rescale::reals
    int zero_point = 0, low = -128, high = 127;

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
    Shrinking to_common[2];                // for a sum
    Shrinking to_made;
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
    const std::byte* missing = nullptr;      // a row of what stands for zero
    const std::byte** taps = nullptr;        // room for places of `tap_room` taps
    int width = 0, out_width = 0, channels = 0;
    int kernel_height = 0, kernel_width = 0, stride = 1, dilation = 1, left = 0;
    Span panels;  // that are computed; of bytes, `depthwise_parts` of the instruction set
};

inline constexpr int pixels_of_taps = 4;  // whose windows are looked up at once
/// Places of taps that a row needs room for.
inline constexpr int tap_room(int taps) { return pixels_of_taps * (taps + 1); }

/// What a processor can do that multiplies numbers of 16 bits. Sums are of 32 bits, and are rounded to 16 if they are kept so.
struct HalfKernels {
    void (*to_halves)(const float* in, Half* out, int count);
    void (*sum_to_halves)(const FloatWeights&, Span panels, const Half* const* starts, std::size_t in_stride, int count,
                          Half* out, std::size_t out_stride);
    void (*sum_to_floats)(const FloatWeights&, Span panels, const Half* const* starts, std::size_t in_stride, int count,
                          float* out, std::size_t out_stride);
    void (*depthwise_to_halves)(const FloatWeights&, const DepthwiseRow&, Half* const* outs);
    void (*depthwise_to_floats)(const FloatWeights&, const DepthwiseRow&, float* const* outs);
    void (*add)(const Half* a, const Half* b, Half* out, std::size_t count, Clip clip);
};

struct Kernels {
    const char* name;
    int depth;                  // products that one step of an integer sum adds up
    int cell_bytes;             // of one factor of such a product
    int offset;                 // that is added to every integer that is read
    int pixels;                 // of a tile
    bool has_reals;             // whether it rescales sums in floats
    int (*place)(int channel);  // of a channel in a panel of integer sums
    /// Puts the weights of one channel and one stretch into a panel.
    void (*pack_weights)(const std::int8_t* weights, int count, int channel, void* panel);

    // Weights [channels][height][width] of a depthwise convolution of integers, as `depthwise_bytes` wants them.
    int (*depthwise_parts)(int channels);        // that can be computed apart
    int (*depthwise_rows)(const DepthwiseRow&);  // that are made at once if strides and dilations are 1
    int (*depthwise_float_rows)(const DepthwiseRow&);
    int (*depthwise_place)(int channel, int channels);
    std::size_t (*depthwise_size)(int channels, int height, int width);
    void (*pack_depthwise)(const std::int8_t* weights, int channels, int height, int width, void* to);

    /// `count` pixels times the weights of some panels, results `out_stride` apart. What a pixel sees lies in stretches, which
    /// `starts` gives for the first; those of the next are `in_stride` numbers further.
    void (*sum_floats)(const FloatWeights&, Span panels, const float* const* starts, std::size_t in_stride, int count,
                       float* out, std::size_t out_stride);
    /// The same for integers, which lie in cells.
    void (*sum_bytes)(const ByteWeights&, Span panels, const void* const* starts, std::size_t in_stride, int count,
                      std::int8_t* out, std::size_t out_stride);
    void (*to_cells)(void* cells, std::size_t at, const std::int8_t* from, int count);

    void (*depthwise_floats)(const FloatWeights&, const DepthwiseRow&, float* const* outs);
    void (*depthwise_bytes)(const ByteWeights&, const DepthwiseRow&, std::int8_t* const* outs);

    /// Sums and products of two rows of numbers.
    void (*add_floats)(const float* a, const float* b, float* out, std::size_t count, Clip clip);
    void (*multiply_floats)(const float* a, const float* b, float* out, std::size_t count);
    void (*add_bytes)(const ByteCombination&, const std::int8_t* a, const std::int8_t* b, std::int8_t* out, std::size_t count);
    void (*multiply_bytes)(const ByteCombination&, const std::int8_t* a, const std::int8_t* b, std::int8_t* out,
                           std::size_t count);
    void (*quantize)(const float* in, float scale, int zero_point, std::int8_t* out, std::size_t count);
    /// The same for three planes, whose numbers are then side by side.
    void (*quantize_colors)(const float* const* planes, float scale, int zero_point, std::int8_t* out, std::size_t count);
    /// What each byte becomes by a table of 256.
    void (*look_up)(const std::int8_t* table, const std::int8_t* in, std::int8_t* out, std::size_t count);
    /// Adds `places` rows of `count` bytes, each `stride` after the last, to the sums, which lie as `place` says, padded to 64.
    void (*add_up)(const std::int8_t* in, std::size_t stride, int places, std::int32_t* sums, int count);

    const HalfKernels* halves = nullptr;  // where the processor has them
};

const Kernels& plain_kernels();
const Kernels& avx512_bf16_kernels();
const Kernels& avx512_kernels();
const Kernels& avx2_kernels();
const Kernels& neon_kernels();
const Kernels& wasm_kernels();
const Kernels& wasm_relaxed_kernels();
const Kernels& wasm_dot_kernels();
bool has_wasm_dot();  // whether the products of bytes are those that its kernels need

/// The fastest table for this processor, or the one of this name; throws GraphError if it cannot run here.
const Kernels& kernels_for(const char* name);
/// Names of the tables that can run here, the fastest first.
std::vector<const char*> kernels_here();

}  // namespace mobilenets
