// One row of an int8 depthwise convolution that processes the taps of a window in pairs.
#pragma once

#include "depthwise.hpp"

namespace mobilenets {

/// P neighboring pixels and one panel; the `taps` of the pixels are `by.inner` + 1 apart.
template <class V, int P, Rescale How>
void pairs_tile(const ByteWeights& by, const DepthwiseRow& row, int p, std::int8_t* out) {
    const int c = p * panel, pairs = (by.inner + 1) / 2;
    const auto* weights = static_cast<const typename V::Tap*>(by.panels) +
                          static_cast<std::size_t>(p) * static_cast<std::size_t>(pairs) * V::tap_cells;
    typename V::Ints sums[P][1][vectors<V>];
    UNROLLED
    for (int j = 0; j < vectors<V>; ++j) {
        UNROLLED
        for (int i = 0; i < P; ++i) sums[i][0][j] = V::load(by.bias + c + j * V::width);
    }
    for (int t = 0; t < pairs; ++t, weights += V::tap_cells) {
        UNROLLED
        for (int i = 0; i < P; ++i) {
            const std::byte* const* taps = row.taps + i * (by.inner + 1) + 2 * t;
            V::add_taps(sums[i][0], reinterpret_cast<const std::int8_t*>(taps[0]) + c,
                        reinterpret_cast<const std::int8_t*>(taps[1]) + c, weights);
        }
    }
    store_tile<V, P, 1, How>(Finished<V, P, 1>(sums).sums, by, static_cast<std::size_t>(c), out + c,
                             static_cast<std::size_t>(row.channels), by.outputs - c);
}

template <class V>
struct ByPairs {
    static constexpr int offset = 0;

    static int rows_at_once(const DepthwiseRow&) { return 1; }
    static int parts(int channels) { return panels_of(channels); }
    static int place(int channel, int) { return channel / panel * panel + V::place(channel % panel); }
    static std::size_t bytes(int channels, int height, int width) {
        return static_cast<std::size_t>(panels_of(channels)) * static_cast<std::size_t>((height * width + 1) / 2) *
               V::tap_cells * sizeof(typename V::Tap);
    }
    static void pack(const std::int8_t* weights, int channels, int height, int width, void* to) {
        auto* cells = static_cast<typename V::Tap*>(to);
        const int taps = height * width, pairs = (taps + 1) / 2;
        for (int c = 0; c < channels; ++c) {
            for (int tap = 0; tap < taps; ++tap) {
                const auto pair = static_cast<std::size_t>(c / panel * pairs + tap / 2) * V::tap_cells;
                cells[pair + static_cast<std::size_t>(V::tap_place(c % panel, tap % 2))] = *weights++;
            }
        }
    }
    static void compute(const ByteWeights& by, const DepthwiseRow& row, std::int8_t* const* outs) {
        std::int8_t* out = outs[0];
        Rounding<V> rounding;
        for (int x = 0; x < row.out_width;) {
            const int pixels = row.out_width - x < pixels_of_taps ? row.out_width - x : pixels_of_taps;
            for (int i = 0; i < pixels; ++i) {
                const std::byte** taps = row.taps + i * (by.inner + 1);
                find_taps(row, x + i, 1, taps);
                taps[by.inner] = row.missing;  // for an odd number of taps; the last pair's second weight is 0
            }
            std::int8_t* here = out + static_cast<std::size_t>(x) * static_cast<std::size_t>(row.channels);
            for (int p = row.panels.from; p < row.panels.to; ++p) {
                rounding.set(direction_of(rescale_of(by, p, 1)));
                with_tiles<V>(by, p, 1, [&]<Rescale How>() {
                    with_exactly<pixels_of_taps>(pixels, [&]<int P>() { pairs_tile<V, P, How>(by, row, p, here); });
                });
            }
            x += pixels;
        }
    }
};

}  // namespace mobilenets
