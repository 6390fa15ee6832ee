// The kernel interface of the engine: a table of functions for each instruction set.
//
// The files in this folder are compiled once for each instruction set. They use only inlined parts of the standard library, so
// that the linker never picks a function compiled for another processor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "records.hpp"

namespace mobilenets {

/// The kernels of a processor with 16-bit products. Sums have 32 bits, and are rounded if they are stored in 16 bits.
struct HalfKernels {
    void (*to_halves)(const float* in, Half* out, int count);
    void (*sum_to_halves)(const FloatWeights&, Span panels, const Half* const* starts, std::size_t in_stride, int count,
                          Half* out, std::size_t out_stride);
    void (*sum_to_floats)(const FloatWeights&, Span panels, const Half* const* starts, std::size_t in_stride, int count,
                          float* out, std::size_t out_stride);
    // Weights [channels][width][width] of a depthwise convolution for which these kernels have tiled code, besides the float
    // ones.
    std::size_t (*depthwise_size)(int channels, int width);
    void (*pack_depthwise)(const Half* weights, int channels, int width, Half* to);
    void (*depthwise_to_halves)(const FloatWeights&, const DepthwiseRow&, Half* const* outs);
    void (*depthwise_to_floats)(const FloatWeights&, const DepthwiseRow&, float* const* outs);
    void (*add)(const Half* a, const Half* b, Half* out, std::size_t count, Clip clip);
};

struct Kernels {
    const char* name;
    int depth;                  // products that one step of an integer sum adds up
    int cell_bytes;             // size of one factor of such a product
    int offset;                 // added to every input integer
    int depthwise_offset;       // the same for depthwise convolutions
    int pixels;                 // per tile
    bool has_reals;             // whether it rescales sums in floats
    bool has_shrink;            // whether factors with only positive right shifts are faster
    bool rounds_down;           // whether intermediate results of a sum that is rounded down are rounded down too
    bool has_float_sums;        // whether sums can be floats from the start
    int (*place)(int channel);  // position of a channel in a panel of integer sums
    /// Packs the weights of one channel and one stretch into a panel.
    void (*pack_weights)(const std::int8_t* weights, int count, int channel, void* panel);

    // Packing of the weights [channels][height][width] of an int8 depthwise convolution for `depthwise_bytes`.
    int (*depthwise_parts)(int channels);        // number of parts that can be computed independently
    int (*depthwise_rows)(const DepthwiseRow&);  // rows computed at once if strides and dilations are 1
    int (*depthwise_float_rows)(const DepthwiseRow&);
    int (*depthwise_place)(int channel, int channels);
    std::size_t (*depthwise_size)(int channels, int height, int width);
    void (*pack_depthwise)(const std::int8_t* weights, int channels, int height, int width, void* to);

    /// `count` pixels times the weights of some panels, with results `out_stride` apart. The inputs of a pixel are stretches:
    /// `starts` points to those of the first pixel, and those of each next pixel are `in_stride` numbers further.
    void (*sum_floats)(const FloatWeights&, Span panels, const float* const* starts, std::size_t in_stride, int count,
                       float* out, std::size_t out_stride);
    /// The same for integers, which are stored in cells.
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
    /// The same for three planes, whose numbers are interleaved in the output.
    void (*quantize_colors)(const float* const* planes, float scale, int zero_point, std::int8_t* out, std::size_t count);
    /// Maps each byte through a table of 256.
    void (*look_up)(const std::int8_t* table, const std::int8_t* in, std::int8_t* out, std::size_t count);
    /// Adds `places` rows of `count` bytes, `stride` apart, to the sums, which are ordered by `place` and padded to 64.
    void (*add_up)(const std::int8_t* in, std::size_t stride, int places, std::int32_t* sums, int count);
    /// These sums, minus a number, rescaled to bytes.
    void (*finish_sums)(const std::int32_t* sums, std::int32_t less, Factor by, int zero_point, std::int8_t* out, int count);

    const HalfKernels* halves = nullptr;  // null if the processor has none
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
bool has_wasm_dot();  // whether both factors of its products are signed

/// The fastest table for this processor, or the one with this name; throws GraphError if it cannot run here.
/// `has_least` says that some weight is -128, which quantizers avoid and not every table supports.
const Kernels& kernels_for(const char* name, bool has_least = false);
/// Names of the tables that can run here, the fastest first.
std::vector<const char*> kernels_here();

}  // namespace mobilenets
