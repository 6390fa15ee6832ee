// Kernels for numbers of 16 bits: products and sums are of 32 bits, what is read and made is of 16 or 32.
#pragma once

#include "depthwise.hpp"
#include "kernels.hpp"

namespace mobilenets {

/// P pixels times N panels, whose weights lie in pairs.
template <class V, int P, int N, typename Made>
void half_tile(const FloatWeights& by, const Half* const* starts, std::size_t at, std::size_t in_stride, const Half* weights,
               int first, Made* out, std::size_t out_stride, int count) {
    const std::size_t panel_size = static_cast<std::size_t>(by.stretches * by.inner) * panel;
    typename V::Floats sums[P][N];
    UNROLLED
    for (int j = 0; j < N; ++j) {
        const auto start = V::load(by.bias + first + j * panel);
        UNROLLED
        for (int i = 0; i < P; ++i) sums[i][j] = start;
    }
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
    UNROLLED
    for (int i = 0; i < P; ++i) {
        Made* to = out + static_cast<std::size_t>(i) * out_stride;
        UNROLLED
        for (int j = 0; j < N; ++j) {
            if (count > j * panel) V::store(to + j * panel, clipped<V>(sums[i][j], by.clip), count - j * panel);
        }
    }
}

template <class V, typename Made>
void sum_halves(const FloatWeights& by, Span panels, const Half* const* starts, std::size_t in_stride, int count, Made* out,
                std::size_t out_stride) {
    const std::size_t panel_size = static_cast<std::size_t>(by.stretches * by.inner) * panel;
    const int chunk = pixels_of_chunk(by.stretches * by.inner * 2, 2 * V::pixels);
    for (int start = 0; start < count; start += chunk) {
        const int last = start + chunk < count ? start + chunk : count;
        with_panels<V::tile_panels>(panels, [&]<int N>(int p) {
            const Half* weights = static_cast<const Half*>(by.halves) + static_cast<std::size_t>(p) * panel_size;
            for (int i = start; i < last;) {
                i += with_pixels<V::pixels>(last - i, [&]<int P>() {
                    half_tile<V, P, N>(by, starts, static_cast<std::size_t>(i) * in_stride, in_stride, weights, p * panel,
                                       out + static_cast<std::size_t>(i) * out_stride + p * panel, out_stride,
                                       by.outputs - p * panel);
                });
            }
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
        .depthwise_to_halves = depthwise_floats<V, Half, Half>,
        .depthwise_to_floats = depthwise_floats<V, Half, float>,
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
