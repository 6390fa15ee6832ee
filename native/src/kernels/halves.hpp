// Kernels for 16-bit numbers: products and sums have 32 bits, inputs and outputs 16 or 32.
#pragma once

#include "depthwise_halves.hpp"
#include "kernels.hpp"

namespace mobilenets {

/// Successive tiles of P pixels times N panels; weights are stored in pairs.
template <class V, int P, int N, Ending End, typename Made>
void half_tiles(const FloatWeights& by, const Half* const* starts, std::size_t at, std::size_t in_stride, int from, Made* out,
                std::size_t out_stride, int tiles) {
    const std::size_t panel_size = static_cast<std::size_t>(by.stretches * by.inner) * panel;
    const Half* first_weights = static_cast<const Half*>(by.halves) + static_cast<std::size_t>(from) * panel_size;
    const int channels = by.outputs - from * panel;
    for (; tiles > 0; --tiles, at += P * in_stride, out += P * out_stride) {
        typename V::Floats sums[P][N];
        UNROLLED
        for (int j = 0; j < N; ++j) {
            const auto start = V::load(by.bias + (from + j) * panel);
            UNROLLED
            for (int i = 0; i < P; ++i) sums[i][j] = start;
        }
        const Half* weights = first_weights;
        for (int s = 0; s < by.stretches; ++s) {
            Pixels<P, Half> pixels(starts[s] + at, in_stride);
            _Pragma("GCC unroll 1") for (int k = by.inner; k > 0; k -= 2) {
                typename V::Ints each[N];
                UNROLLED
                for (int j = 0; j < N; ++j) each[j] = V::pairs(weights + static_cast<std::size_t>(j) * panel_size);
                UNROLLED
                for (int i = 0; i < P; ++i) {
                    const auto x = V::pair(pixels[i]);
                    UNROLLED
                    for (int j = 0; j < N; ++j) sums[i][j] = V::dot(sums[i][j], x, each[j]);
                }
                weights += 2 * panel;
                pixels.advance(2);
            }
        }
        store_floats<V, P, N, End>(sums, by.clip, out, out_stride, channels);
    }
}

template <class V, typename Made>
void sum_halves(const FloatWeights& by, Span panels, const Half* const* starts, std::size_t in_stride, int count, Made* out,
                std::size_t out_stride) {
    const int chunk = pixels_of_chunk(by.stretches * by.inner * 2, 2 * V::pixels);
    for (int start = 0; start < count; start += chunk) {
        const int last = start + chunk < count ? start + chunk : count;
        with_panels<V::tile_panels>(panels, [&]<int N>(int p) {
            with_ending<V>(by.clip, [&]<Ending End>() {
                in_tiles<V::pixels>(last - start, [&]<int P>(int i, int tiles) {
                    half_tiles<V, P, N, End>(by, starts, static_cast<std::size_t>(start + i) * in_stride, in_stride, p,
                                             out + static_cast<std::size_t>(start + i) * out_stride + p * panel, out_stride,
                                             tiles);
                });
            });
        });
    }
}

template <class V>
HalfKernels half_table() {
    return {
        .to_halves =
            [](const float* in, Half* out, int count) {
                for (int i = 0; i < count; i += V::width) {
                    const int left = count - i < V::width ? count - i : V::width;
                    V::store(out + i, V::load(in + i), left);
                }
            },
        .sum_to_halves = sum_halves<V, Half>,
        .sum_to_floats = sum_halves<V, float>,
        .depthwise_size = half_filters,
        .pack_depthwise = pack_half_filters,
        .depthwise_to_halves = depthwise_halves<V, Half>,
        .depthwise_to_floats = depthwise_halves<V, float>,
        .add =
            [](const Half* a, const Half* b, Half* out, std::size_t count, Clip clip) {
                for (std::size_t i = 0; i < count; i += V::width) {
                    const auto sum = clipped<V>(V::add(V::load(a + i), V::load(b + i)), clip);
                    V::store(out + i, sum, count - i < V::width ? static_cast<int>(count - i) : V::width);
                }
            },
    };
}

}  // namespace mobilenets
