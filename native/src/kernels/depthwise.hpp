// One row of a depthwise convolution of floats: each channel by its own small filter.
#pragma once

#include "sums.hpp"

namespace mobilenets {

/// Finds the places of the map, or of `missing`, that the window at the output column `x` sees.
static inline void find_taps(const DepthwiseRow& row, int x, std::size_t number_bytes, const std::byte** tap) {
    for (int ky = 0; ky < row.kernel_height; ++ky) {
        for (int kx = 0; kx < row.kernel_width; ++kx) {
            const int column = x * row.stride - row.left + kx * row.dilation;
            const bool inside = column >= 0 && column < row.width;
            const auto at = static_cast<std::size_t>(column) * static_cast<std::size_t>(row.channels) * number_bytes;
            *tap++ = inside ? row.rows[ky] + at : row.missing;
        }
    }
}

/// One place, wherever it lies. Weights of a panel are [taps][16].
template <class V>
void depthwise_float_place(const FloatWeights& by, const DepthwiseRow& row, int x, float* out) {
    find_taps(row, x, sizeof(float), row.taps);
    for (int c = row.panels.from * panel; c < by.outputs && c < row.panels.to * panel; c += V::width) {
        const float* weights = by.panels + static_cast<std::size_t>(c / panel * by.inner) * panel + c % panel;
        auto sum = V::load(by.bias + c);
        for (int t = 0; t < by.inner; ++t) {
            sum = V::multiply_add(V::load(reinterpret_cast<const float*>(row.taps[t]) + c), V::load(weights + t * panel), sum);
        }
        V::store(out + c, clipped<V>(sum, by.clip), by.outputs - c);
    }
}

/// P neighboring places whose windows lie inside the map, N vectors of channels; W columns of the kernel.
template <class V, int W, int S, int P, int N>
void depthwise_float_tile(const FloatWeights& by, const DepthwiseRow& row, int x, int channel, const float* weights,
                          float* out) {
    constexpr int columns = (P - 1) * S + W;
    const auto channels = static_cast<std::size_t>(row.channels);
    typename V::Floats sums[P][N];
    UNROLLED
    for (int j = 0; j < N; ++j) {
        UNROLLED
        for (int i = 0; i < P; ++i) sums[i][j] = V::load(by.bias + channel + j * V::width);
    }
    for (int ky = 0; ky < row.kernel_height; ++ky) {
        const float* in =
            reinterpret_cast<const float*>(row.rows[ky]) + static_cast<std::size_t>(x * S - row.left) * channels + channel;
        typename V::Floats each[W][N];
        UNROLLED
        for (int kx = 0; kx < W; ++kx) {
            UNROLLED
            for (int j = 0; j < N; ++j) each[kx][j] = V::load(weights + kx * panel + j * V::width);
        }
        UNROLLED
        for (int c = 0; c < columns; ++c) {
            UNROLLED
            for (int j = 0; j < N; ++j) {
                const auto number = V::load(in + static_cast<std::size_t>(c) * channels + j * V::width);
                UNROLLED
                for (int kx = 0; kx < W; ++kx) {
                    if ((c - kx) % S == 0 && c >= kx && (c - kx) / S < P) {
                        const int i = (c - kx) / S;
                        sums[i][j] = V::multiply_add(number, each[kx][j], sums[i][j]);
                    }
                }
            }
        }
        weights += W * panel;
    }
    UNROLLED
    for (int i = 0; i < P; ++i) {
        UNROLLED
        for (int j = 0; j < N; ++j) {
            V::store(out + static_cast<std::size_t>(i) * channels + channel + j * V::width, clipped<V>(sums[i][j], by.clip));
        }
    }
}

/// The places [from, to), all inside, of the channels that fill whole vectors.
template <class V, int W, int S, int P>
void depthwise_float_inside(const FloatWeights& by, const DepthwiseRow& row, Span columns, int channels, float* out) {
    const int taps = row.kernel_height * W;
    for (int x = columns.from; x < columns.to;) {
        float* here = out + static_cast<std::size_t>(x) * static_cast<std::size_t>(row.channels);
        const int done = columns.to - x >= P ? P : 1;
        for (int c = row.panels.from * panel; c < channels; c += V::width) {
            const float* weights = by.panels + static_cast<std::size_t>(c / panel * taps) * panel + c % panel;
            if (done == P) {
                depthwise_float_tile<V, W, S, P, 1>(by, row, x, c, weights, here);
            } else {
                depthwise_float_tile<V, W, S, 1, 1>(by, row, x, c, weights, here);
            }
        }
        x += done;
    }
}

/// Output columns whose windows lie inside the map.
static inline Span inside(const DepthwiseRow& row) {
    const int reach = (row.kernel_width - 1) * row.dilation;
    Span made{(row.left + row.stride - 1) / row.stride, row.out_width};
    const int last = row.width - 1 - reach + row.left;  // first input column of the last window inside, shifted by the padding
    made.to = last < 0 ? 0 : last / row.stride + 1;
    if (made.to > row.out_width) made.to = row.out_width;
    if (made.from > made.to) made.from = made.to;
    return made;
}

template <class V>
void depthwise_floats(const FloatWeights& by, const DepthwiseRow& row, float* out) {
    const auto stride = static_cast<std::size_t>(row.channels);
    const int panels_end = row.panels.to * panel < by.outputs ? row.panels.to * panel : by.outputs;
    const int whole = panels_end / V::width * V::width;
    Span columns{0, 0};
    if (row.dilation == 1 && whole == panels_end) {
        columns = inside(row);
        const int kind = row.kernel_width * 10 + row.stride;
        if (kind == 31)
            depthwise_float_inside<V, 3, 1, 4>(by, row, columns, whole, out);
        else if (kind == 32)
            depthwise_float_inside<V, 3, 2, 4>(by, row, columns, whole, out);
        else if (kind == 51)
            depthwise_float_inside<V, 5, 1, 4>(by, row, columns, whole, out);
        else if (kind == 52)
            depthwise_float_inside<V, 5, 2, 2>(by, row, columns, whole, out);
        else
            columns = {0, 0};
    }
    for (int x = 0; x < row.out_width; ++x) {
        if (x == columns.from && columns.size() > 0) x = columns.to;
        if (x < row.out_width) depthwise_float_place<V>(by, row, x, out + static_cast<std::size_t>(x) * stride);
    }
}

}  // namespace mobilenets
