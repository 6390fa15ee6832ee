// Direct access to the kernels of one instruction set, for code that is compiled for it and needs no table.
#pragma once

#include "depthwise.hpp"
#include "depthwise_bytes.hpp"
#include "elementwise.hpp"

namespace mobilenets {

/// The members of `Kernels` as constants and functions.
template <class V>
struct Direct {
    using Cell = typename V::Cell;
    using Depthwise = DepthwiseBytes<V>;

    static constexpr int depth = V::depth, cell_bytes = sizeof(Cell), offset = V::offset, pixels = V::pixels;

    static constexpr int place(int channel) { return V::place(channel); }
    static void to_cells(void* cells, std::size_t at, const std::int8_t* from, int count) {
        V::to_cells(static_cast<Cell*>(cells) + at, from, count);
    }
    static void fill_cells(void* cells, std::size_t at, int number, int count) {
        Cell* to = static_cast<Cell*>(cells) + at;
        for (int i = 0; i < count; ++i) to[i] = static_cast<Cell>(number + V::offset);
    }
    static void sum_floats(const FloatWeights& by, Span panels, const float* const* starts, std::size_t in_stride, int count,
                           float* out, std::size_t out_stride) {
        mobilenets::sum_floats<V>(by, panels, starts, in_stride, count, out, out_stride);
    }
    static void sum_bytes(const ByteWeights& by, Span panels, const void* const* starts, std::size_t in_stride, int count,
                          std::int8_t* out, std::size_t out_stride) {
        mobilenets::sum_bytes<V>(by, panels, starts, in_stride, count, out, out_stride);
    }
    static void depthwise_floats(const FloatWeights& by, const DepthwiseRow& row, float* const* outs) {
        mobilenets::depthwise_floats<V, float, float>(by, row, outs);
    }
    static void depthwise_bytes(const ByteWeights& by, const DepthwiseRow& row, std::int8_t* const* outs) {
        Depthwise::compute(by, row, outs);
    }
    static void add_floats(const float* a, const float* b, float* out, std::size_t count, Clip clip) {
        mobilenets::add_floats<V>(a, b, out, count, clip);
    }
    static void multiply_floats(const float* a, const float* b, float* out, std::size_t count) {
        mobilenets::multiply_floats<V>(a, b, out, count);
    }
    static void add_bytes(const ByteCombination& by, const std::int8_t* a, const std::int8_t* b, std::int8_t* out,
                          std::size_t count) {
        mobilenets::add_bytes<V>(by, a, b, out, count);
    }
    static void multiply_bytes(const ByteCombination& by, const std::int8_t* a, const std::int8_t* b, std::int8_t* out,
                               std::size_t count) {
        mobilenets::multiply_bytes<V>(by, a, b, out, count);
    }
    static void quantize(const float* in, float scale, int zero_point, std::int8_t* out, std::size_t count) {
        mobilenets::quantize<V>(in, scale, zero_point, out, count);
    }
    static void look_up(const std::int8_t* table, const std::int8_t* in, std::int8_t* out, std::size_t count) {
        V::look_up(table, in, out, count);
    }
    static void add_up(const std::int8_t* in, std::size_t stride, int places, std::int32_t* sums, int count) {
        mobilenets::add_up<V>(in, stride, places, sums, count);
    }
    static void finish_sums(const std::int32_t* sums, std::int32_t less, Factor by, int zero_point, std::int8_t* out,
                            int count) {
        mobilenets::finish_sums<V>(sums, less, by, zero_point, out, count);
    }
};

}  // namespace mobilenets
