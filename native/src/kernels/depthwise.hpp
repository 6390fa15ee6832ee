// One row of a depthwise convolution of floats: each channel by its own small filter.
#pragma once

#include "sums.hpp"

namespace mobilenets {

/// Finds the places of the map, or of `missing`, that the window at the output column `x` sees.
static inline void find_taps(const DepthwiseRow& row, int x, std::size_t number_bytes, const std::byte** tap) {
    for (int ky = 0; ky < row.kernel_height; ++ky) {
        for (int kx = 0; kx < row.kernel_width; ++kx) {
            const int column = x * row.stride - row.left + kx * row.dilation;
            const bool inside = column >= 0 && column < row.width && row.rows[ky] != row.missing;
            const auto at = static_cast<std::size_t>(column) * static_cast<std::size_t>(row.channels) * number_bytes;
            *tap++ = inside ? row.rows[ky] + at : row.missing;
        }
    }
}

/// One place, wherever it lies. Weights of a panel are [taps][16].
template <class V, typename Read, typename Made>
void depthwise_float_place(const FloatWeights& by, const DepthwiseRow& row, int x, Made* out) {
    find_taps(row, x, sizeof(Read), row.taps);
    for (int c = row.panels.from * panel; c < by.outputs && c < row.panels.to * panel; c += V::width) {
        const float* weights = by.panels + static_cast<std::size_t>(c / panel * by.inner) * panel + c % panel;
        auto sum = V::load(by.bias + c);
        for (int t = 0; t < by.inner; ++t) {
            sum = V::multiply_add(V::load(reinterpret_cast<const Read*>(row.taps[t]) + c), V::load(weights + t * panel), sum);
        }
        V::store(out + c, clipped<V>(sum, by.clip), by.outputs - c);
    }
}

/// A tile of P neighboring places in each of R rows; a vector of channels, W rows and columns of the kernel. A row that several
/// windows see is read once. `Inside` says that no window goes beyond the map at the left or right.
template <class V, typename Read, typename Made, int W, int S, int P, int R, bool Inside, Ending End>
inline void depthwise_float_tile(const FloatWeights& by, const DepthwiseRow& row, int x, int channel, const float* weights,
                                 Made* const* outs) {
    constexpr int columns = (P - 1) * S + W, height = W;
    const auto channels = static_cast<std::size_t>(row.channels);
    const int count = by.outputs - channel;
    const Read* missing = reinterpret_cast<const Read*>(row.missing) + channel;
    typename V::Floats sums[R][P];
    const auto start = V::load(by.bias + channel);
    UNROLLED
    for (int i = 0; i < R * P; ++i) sums[i / P][i % P] = start;
    UNROLLED
    for (int y = 0; y < height + R - 1; ++y) {
        const Read* in = reinterpret_cast<const Read*>(row.rows[y]) + channel;
        const std::ptrdiff_t across = row.rows[y] == row.missing ? 0 : row.channels;
        typename V::Floats numbers[columns];
        UNROLLED
        for (int c = 0; c < columns; ++c) {
            const int column = x * S - row.left + c;
            const bool is_there = Inside || (column >= 0 && column < row.width);
            numbers[c] = V::load(is_there ? in + column * across : missing);
        }
        UNROLLED
        for (int r = 0; r < R; ++r) {
            if (y < r || y - r >= height) continue;
            const float* filter = weights + (y - r) * W * panel;
            UNROLLED
            for (int kx = 0; kx < W; ++kx) {
                const auto weight = V::load(filter + kx * panel);
                UNROLLED
                for (int i = 0; i < P; ++i) sums[r][i] = V::multiply_add(numbers[i * S + kx], weight, sums[r][i]);
            }
        }
    }
    UNROLLED
    for (int r = 0; r < R; ++r) {
        typename V::Floats place[P][1];
        UNROLLED
        for (int i = 0; i < P; ++i) place[i][0] = sums[r][i];
        store_floats<V, P, 1, End>(place, by.clip, outs[r] + static_cast<std::size_t>(x) * channels + channel, channels, count);
    }
}

/// All places of the rows. The last tile goes back over some of those before it.
template <class V, typename Read, typename Made, int W, int S, int P, int R>
void depthwise_float_rows(const FloatWeights& by, const DepthwiseRow& row, Made* const* outs) {
    constexpr int taps = W * W;
    with_ending<V>(by.clip, [&]<Ending End>() {
        for (int x = 0; x < row.out_width; x += P) {
            const int at = x + P <= row.out_width ? x : row.out_width - P, first = at * S - row.left;
            const bool is_inside = first >= 0 && first + (P - 1) * S + W <= row.width;
            for (int c = row.panels.from * panel; c < by.outputs && c < row.panels.to * panel; c += V::width) {
                const float* weights = by.panels + static_cast<std::size_t>(c / panel * taps) * panel + c % panel;
                if (is_inside)
                    depthwise_float_tile<V, Read, Made, W, S, P, R, true, End>(by, row, at, c, weights, outs);
                else
                    depthwise_float_tile<V, Read, Made, W, S, P, R, false, End>(by, row, at, c, weights, outs);
            }
        }
    });
}

/// Whether two neighboring rows are made at once.
static inline int float_rows_at_once(const DepthwiseRow& row) {
    return row.dilation == 1 && row.stride == 1 && row.kernel_height == row.kernel_width &&
                   (row.kernel_width == 3 || row.kernel_width == 5)
               ? 2
               : 1;
}

/// Computes the rows P places at a time; whether there are tiles for this filter and this width.
template <class V, typename Read, typename Made, int P>
bool depthwise_in_tiles(const FloatWeights& by, const DepthwiseRow& row, Made* const* outs) {
    if (row.dilation != 1 || row.kernel_height != row.kernel_width || row.out_width < P) return false;
    switch (row.kernel_width * 100 + row.stride * 10 + row.out_rows) {
        case 311: return depthwise_float_rows<V, Read, Made, 3, 1, P, 1>(by, row, outs), true;
        case 312: return depthwise_float_rows<V, Read, Made, 3, 1, P, 2>(by, row, outs), true;
        case 321: return depthwise_float_rows<V, Read, Made, 3, 2, P, 1>(by, row, outs), true;
        case 511: return depthwise_float_rows<V, Read, Made, 5, 1, P, 1>(by, row, outs), true;
        case 512: return depthwise_float_rows<V, Read, Made, 5, 1, P, 2>(by, row, outs), true;
        case 521: return depthwise_float_rows<V, Read, Made, 5, 2, P, 1>(by, row, outs), true;
        default: return false;
    }
}

template <class V, typename Read, typename Made>
void depthwise_floats(const FloatWeights& by, const DepthwiseRow& row, Made* const* outs) {
    if constexpr (has_many_tiles<V>) {  // registers for more sums
        if (depthwise_in_tiles<V, Read, Made, 7>(by, row, outs)) return;
    }
    if (depthwise_in_tiles<V, Read, Made, 4>(by, row, outs)) return;
    for (int r = 0; r < row.out_rows; ++r) {
        DepthwiseRow one = row;
        one.rows += r, one.out_rows = 1;
        for (int x = 0; x < row.out_width; ++x) {
            Made* place = outs[r] + static_cast<std::size_t>(x) * static_cast<std::size_t>(row.channels);
            depthwise_float_place<V, Read>(by, one, x, place);
        }
    }
}

}  // namespace mobilenets
