// Rows of a 16-bit depthwise convolution: two rows under a filter are interleaved, and one instruction multiplies and adds
// both.
#pragma once

#include "depthwise.hpp"

namespace mobilenets {

/// The number of row pairs that cover two vertically neighboring windows of this height.
constexpr int pairs_of_rows(int height) { return (height + 1) / 2; }

/// The packed size of the weights of a square filter: for each panel [2][pairs of rows][columns][16][2]. The second half is the
/// filter shifted down by a row, for the second of two rows that are computed at once.
static inline std::size_t half_filters(int channels, int width) {
    return index(panels_of(channels) * 2 * pairs_of_rows(width) * width * panel * 2);
}
static inline void pack_half_filters(const Half* weights, int channels, int width, Half* to) {
    const int size = pairs_of_rows(width) * width * panel * 2;
    for (int c = 0; c < channels; ++c) {
        Half* filters = to + index(c / panel * 2 * size + c % panel * 2);
        for (int ky = 0; ky < width; ++ky) {
            for (int kx = 0; kx < width; ++kx, ++weights) {
                for (int lower = 0; lower < 2; ++lower) {
                    const int row = ky + lower;
                    filters[index(lower * size + (row / 2 * width + kx) * panel * 2 + row % 2)] = *weights;
                }
            }
        }
    }
}

template <class V, typename Made>
struct HalfWindows {
    using Numbers = V;
    using Result = Made;

    /// The same as in `FloatWindows`.
    template <int W, int S, int P, int R, Beside Where, Ending End>
    static void tile(const FloatWeights& by, const DepthwiseRow& row, int x, int channel, Made* const* outs) {
        constexpr int columns = (P - 1) * S + W, pairs = pairs_of_rows(W), rows = W + R - 1;
        const Half* filters = static_cast<const Half*>(by.halves) + index(channel / panel * 2 * pairs * W * panel * 2);
        typename V::Floats sums[R][P];
        const auto start = V::load(by.bias + channel);
        UNROLLED
        for (int i = 0; i < R * P; ++i) sums[i / P][i % P] = start;
        UNROLLED
        for (int pair = 0; pair < pairs; ++pair) {
            const int left = x * S - row.left;
            const SeenRow<Half, Where, columns, W / 2> upper(row, row.rows[2 * pair], left, channel);
            const SeenRow<Half, Where, columns, W / 2> lower(row, 2 * pair + 1 < rows ? row.rows[2 * pair + 1] : row.missing,
                                                             left, channel);
            typename V::Ints numbers[columns];
            UNROLLED
            for (int c = 0; c < columns; ++c) numbers[c] = V::interleaved(upper[c], lower[c]);
            UNROLLED
            for (int r = 0; r < R; ++r) {
                UNROLLED
                for (int kx = 0; kx < W; ++kx) {
                    const auto weight = V::pairs(filters + ((r * pairs + pair) * W + kx) * panel * 2);
                    UNROLLED
                    for (int i = 0; i < P; ++i) sums[r][i] = V::dot(sums[r][i], numbers[i * S + kx], weight);
                }
            }
        }
        store_places<V, P, R, End>(by, sums, row, x, channel, outs);
    }
};

template <class V, typename Made>
void depthwise_halves(const FloatWeights& by, const DepthwiseRow& row, Made* const* outs) {
    using Windows = HalfWindows<V, Made>;
    if (depthwise_in_tiles<Windows, 7>(by, row, outs) || depthwise_in_tiles<Windows, 4>(by, row, outs)) return;
    depthwise_floats<V, Half, Made>(by, row, outs);
}

}  // namespace mobilenets
