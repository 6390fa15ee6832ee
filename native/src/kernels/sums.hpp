// Pointwise convolutions, linear layers and patches of larger convolutions: pixels times panels of 16 output channels.
//
// A tile of a few pixels and panels keeps all its sums in registers while it walks along the input channels.
#pragma once

#include "pixels.hpp"
#include "rescale.hpp"

namespace mobilenets {

template <class V>
inline typename V::Floats clipped(typename V::Floats x, Clip clip) {
    const auto zero = V::all(0.0F), six = V::all(6.0F);
    switch (clip) {
        case Clip::none: return x;
        case Clip::relu: return V::greatest(x, zero);
        case Clip::relu6: return V::least(V::greatest(x, zero), six);
        default: break;
    }
    const auto gate = V::multiply(V::least(V::greatest(V::add(x, V::all(3.0F)), zero), six), V::all(1.0F / 6));
    return clip == Clip::hard_swish ? V::multiply(x, gate) : gate;
}

/// P pixels times N vectors of output channels, of which `count` are stored. The vectors of one panel lie side by side, those
/// of the next a whole panel further.
template <class V, int P, int N>
void float_tile(const FloatWeights& by, const float* const* starts, std::size_t at, std::size_t in_stride, const float* weights,
                const float* bias, float* out, std::size_t out_stride, int count) {
    const std::size_t panel_size = static_cast<std::size_t>(by.stretches * by.inner) * panel;
    const Clip clip = by.clip;
    typename V::Floats sums[P][N];
    UNROLLED
    for (int j = 0; j < N; ++j) {
        const auto start = V::load(bias + j * V::width);
        UNROLLED
        for (int i = 0; i < P; ++i) sums[i][j] = start;
    }
    for (int s = 0; s < by.stretches; ++s) {
        Pixels<P, float> pixels(starts[s] + at, in_stride);
        _Pragma("GCC unroll 1") for (int k = by.inner; k > 0; --k) {
            typename V::Floats each[N];
            UNROLLED
            for (int j = 0; j < N; ++j) {
                each[j] = V::load(weights + static_cast<std::size_t>(j * V::width / panel) * panel_size + j * V::width % panel);
            }
            UNROLLED
            for (int i = 0; i < P; ++i) {
                const auto x = V::all(*pixels[i]);
                UNROLLED
                for (int j = 0; j < N; ++j) sums[i][j] = V::multiply_add(x, each[j], sums[i][j]);
            }
            weights += panel;
            pixels.advance(1);
        }
    }
    if (count >= N * V::width) {
        UNROLLED
        for (int i = 0; i < P; ++i) {
            UNROLLED
            for (int j = 0; j < N; ++j)
                V::store(out + static_cast<std::size_t>(i) * out_stride + j * V::width, clipped<V>(sums[i][j], clip));
        }
        return;
    }
    UNROLLED
    for (int i = 0; i < P; ++i) {
        UNROLLED
        for (int j = 0; j < N; ++j) {
            if (count > j * V::width)
                V::store(out + static_cast<std::size_t>(i) * out_stride + j * V::width, clipped<V>(sums[i][j], clip),
                         count - j * V::width);
        }
    }
}

template <class V>
void sum_floats(const FloatWeights& by, Span panels, const float* const* starts, std::size_t in_stride, int count, float* out,
                std::size_t out_stride) {
    constexpr int whole = panel / V::width, half = whole > 1 ? whole / 2 : 1;
    const int chunk = pixels_of_chunk(by.stretches * by.inner * 4, 2 * V::pixels);
    for (int first = 0; first < count; first += chunk) {
        const int last = first + chunk < count ? first + chunk : count;
        with_panels<V::tile_panels>(panels, [&]<int N>(int p) {
            const float* weights = by.panels + static_cast<std::size_t>(p * by.stretches * by.inner) * panel;
            const int channels = by.outputs - p * panel;
            const auto at = [&]<int P, int M>(int i) {
                float_tile<V, P, M>(by, starts, static_cast<std::size_t>(i) * in_stride, in_stride, weights,
                                    by.bias + p * panel, out + static_cast<std::size_t>(i) * out_stride + p * panel, out_stride,
                                    channels);
            };
            for (int i = first; i < last;) {
                if (N > 1 || half == whole || channels > panel / 2) {
                    i += with_pixels<V::pixels>(last - i, [&]<int P>() { at.template operator()<P, N * whole>(i); });
                } else if constexpr (half < whole) {
                    i += with_pixels<2 * V::pixels>(last - i, [&]<int P>() { at.template operator()<P, half>(i); });
                }
            }
        });
    }
}

/// P pixels times N panels of integers.
template <class V, int P, int N>
void byte_tile(const ByteWeights& by, const typename V::Cell* const* starts, std::size_t at, std::size_t in_stride,
               const typename V::Cell* weights, int first, std::int8_t* out, std::size_t out_stride, int count) {
    const std::size_t panel_size = static_cast<std::size_t>(by.stretches * by.inner) * panel;
    typename V::Ints sums[P][N][vectors<V>];
    UNROLLED
    for (int j = 0; j < N * vectors<V>; ++j) {
        const auto start = V::load(by.bias + first + j * V::width);
        UNROLLED
        for (int i = 0; i < P; ++i) sums[i][j / vectors<V>][j % vectors<V>] = start;
    }
    for (int s = 0; s < by.stretches; ++s) {
        Pixels<P, typename V::Cell> pixels(starts[s] + at, in_stride);
        _Pragma("GCC unroll 1") for (int k = by.inner; k > 0; k -= V::depth) {
            typename V::Weights each[N * vectors<V>];
            UNROLLED
            for (int j = 0; j < N * vectors<V>; ++j) {
                each[j] = V::weights(weights + static_cast<std::size_t>(j / vectors<V>) * panel_size +
                                     j % vectors<V> * V::width * V::depth);
            }
            UNROLLED
            for (int i = 0; i < P; ++i) {
                const auto x = V::factors(pixels[i]);
                UNROLLED
                for (int j = 0; j < N * vectors<V>; ++j) {
                    auto& sum = sums[i][j / vectors<V>][j % vectors<V>];
                    sum = V::dot(sum, x, each[j]);
                }
            }
            weights += panel * V::depth;
            pixels.advance(V::depth);
        }
    }
    store_tile<V, P, N>(Finished<V, P, N>(sums).sums, by, static_cast<std::size_t>(first), out, out_stride, count);
}

template <class V>
void sum_bytes(const ByteWeights& by, Span panels, const void* const* starts, std::size_t in_stride, int count,
               std::int8_t* out, std::size_t out_stride) {
    const auto* cells = reinterpret_cast<const typename V::Cell* const*>(starts);
    const auto panel_size = static_cast<std::size_t>(by.stretches * by.inner) * panel;
    with_panels<V::byte_panels>(panels, [&]<int N>(int p) {
        const auto* weights = static_cast<const typename V::Cell*>(by.panels) + static_cast<std::size_t>(p) * panel_size;
        for (int i = 0; i < count;) {
            i += with_pixels<tile_pixels<V, N>>(count - i, [&]<int P>() {
                byte_tile<V, P, N>(by, cells, static_cast<std::size_t>(i) * in_stride, in_stride, weights, p * panel,
                                   out + static_cast<std::size_t>(i) * out_stride + p * panel, out_stride,
                                   by.outputs - p * panel);
            });
        }
    });
}

}  // namespace mobilenets
