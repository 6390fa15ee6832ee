// What the engine asks of a processor: a table of functions, one table for each instruction set.
//
// Files of this folder are compiled once for each instruction set. They use nothing of the standard library that is not
// inlined, so that no function compiled for one processor is linked where another one runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "records.hpp"

namespace mobilenets {

/// What a processor can do that multiplies numbers of 16 bits. Sums are of 32 bits, and are rounded to 16 if they are kept so.
struct HalfKernels {
    void (*to_halves)(const float* in, Half* out, int count);
    void (*sum_to_halves)(const FloatWeights&, Span panels, const Half* const* starts, std::size_t in_stride, int count,
                          Half* out, std::size_t out_stride);
    void (*sum_to_floats)(const FloatWeights&, Span panels, const Half* const* starts, std::size_t in_stride, int count,
                          float* out, std::size_t out_stride);
    // Weights [channels][width][width] of a depthwise convolution whose tiles these kernels have, beside those in floats.
    std::size_t (*depthwise_size)(int channels, int width);
    void (*pack_depthwise)(const Half* weights, int channels, int width, Half* to);
    void (*depthwise_to_halves)(const FloatWeights&, const DepthwiseRow&, Half* const* outs);
    void (*depthwise_to_floats)(const FloatWeights&, const DepthwiseRow&, float* const* outs);
    void (*add)(const Half* a, const Half* b, Half* out, std::size_t count, Clip clip);
};

struct Kernels {
    const char* name;
    int depth;                  // products that one step of an integer sum adds up
    int cell_bytes;             // of one factor of such a product
    int offset;                 // that is added to every integer that is read
    int depthwise_offset;       // the same for depthwise convolutions
    int pixels;                 // of a tile
    bool has_reals;             // whether it rescales sums in floats
    bool has_shrink;            // whether factors whose right shifts are all positive are faster
    bool rounds_down;           // whether what leads to a sum that is rounded down is rounded down too
    bool has_float_sums;        // whether sums can be floats from the start
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
    void (*fill_cells)(void* cells, std::size_t at, int number, int count);

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
    /// These sums, less a number, as bytes at another scale.
    void (*finish_sums)(const std::int32_t* sums, std::int32_t less, Factor by, int zero_point, std::int8_t* out, int count);

    const HalfKernels* halves = nullptr;  // where the processor has them
};

const Kernels& plain_kernels();
const Kernels& avx512_bf16_kernels();
const Kernels& avx512_kernels();
const Kernels& avx512_vnni_kernels();
const Kernels& avx_vnni_kernels();
const Kernels& emulated_vnni_kernels();
const Kernels& avx2_kernels();
const Kernels& neon_kernels();
const Kernels& wasm_kernels();
const Kernels& wasm_relaxed_kernels();
const Kernels& wasm_dot_kernels();
bool has_wasm_dot();  // whether both factors of its products have a sign

/// The fastest table for this processor, or the one of this name; throws GraphError if it cannot run here.
/// `has_least` says that a weight is -128, which quantizers leave out, and not every table takes.
const Kernels& kernels_for(const char* name, bool has_least = false);
/// Names of the tables that can run here, the fastest first.
std::vector<const char*> kernels_here();

}  // namespace mobilenets
