// Pointwise convolutions, linear layers and patches of larger convolutions: pixels times panels of 16 output channels.
//
// A tile of a few pixels and panels keeps all its sums in registers while it iterates over the input channels.
#pragma once

#include "pixels.hpp"
#include "rescale.hpp"

namespace mobilenets {

inline constexpr float infinity = __builtin_huge_valf();

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

/// The activation at the end of a float sum: none, clipping to bounds, or one of the others.
enum class Ending { as_is, bounded, curved };

/// Calls `of` with the ending as a compile-time constant; if code size matters, with the one that branches on the curve.
template <class V, typename Of>
void with_ending(Clip clip, const Of& of) {
    if constexpr (has_many_tiles<V>) {
        if (clip == Clip::none) return of.template operator()<Ending::as_is>();
        if (clip == Clip::relu || clip == Clip::relu6) return of.template operator()<Ending::bounded>();
    }
    of.template operator()<Ending::curved>();
}

/// Stores the sums of P pixels and N vectors, `count` channels of them.
template <class V, int P, int N, Ending End, typename Made>
inline void store_floats(typename V::Floats (&sums)[P][N], Clip clip, Made* out, std::size_t out_stride, int count) {
    const auto zero = V::all(0.0F), most = V::all(clip == Clip::relu6 ? 6.0F : infinity);
    UNROLLED
    for (int i = 0; i < P * N; ++i) {
        auto& sum = sums[i / N][i % N];
        if constexpr (End == Ending::bounded) sum = V::least(V::greatest(sum, zero), most);
        if constexpr (End == Ending::curved) sum = clipped<V>(sum, clip);
    }
    if (count >= N * V::width) {
        UNROLLED
        for (int i = 0; i < P * N; ++i)
            V::store(out + static_cast<std::size_t>(i / N) * out_stride + i % N * V::width, sums[i / N][i % N]);
        return;
    }
    UNROLLED
    for (int i = 0; i < P * N; ++i) {
        if (count > i % N * V::width)
            V::store(out + static_cast<std::size_t>(i / N) * out_stride + i % N * V::width, sums[i / N][i % N],
                     count - i % N * V::width);
    }
}

/// Successive tiles of P pixels times N vectors of output channels. The vectors of a panel are side by side in memory; those of
/// the next panel are a whole panel further.
template <class V, int P, int N, Ending End>
void float_tiles(const FloatWeights& by, const float* const* starts, std::size_t at, std::size_t in_stride, int from,
                 float* out, std::size_t out_stride, int tiles) {
    const std::size_t panel_size = static_cast<std::size_t>(by.stretches * by.inner) * panel;
    const float* first_weights = by.panels + static_cast<std::size_t>(from) * panel_size;
    const float* bias = by.bias + from * panel;
    const int channels = by.outputs - from * panel;
    for (; tiles > 0; --tiles, at += P * in_stride, out += P * out_stride) {
        typename V::Floats sums[P][N];
        UNROLLED
        for (int j = 0; j < N; ++j) {
            const auto start = V::load(bias + j * V::width);
            UNROLLED
            for (int i = 0; i < P; ++i) sums[i][j] = start;
        }
        const float* weights = first_weights;
        for (int s = 0; s < by.stretches; ++s) {
            Pixels<P, float> pixels(starts[s] + at, in_stride);
            _Pragma("GCC unroll 1") for (int k = by.inner; k > 0; --k) {
                typename V::Floats each[N];
                UNROLLED
                for (int j = 0; j < N; ++j) {
                    each[j] =
                        V::load(weights + static_cast<std::size_t>(j * V::width / panel) * panel_size + j * V::width % panel);
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
        store_floats<V, P, N, End>(sums, by.clip, out, out_stride, channels);
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
            with_ending<V>(by.clip, [&]<Ending End>() {
                const auto of = [&]<int P, int M>(int i, int tiles) {
                    float_tiles<V, P, M, End>(by, starts, static_cast<std::size_t>(first + i) * in_stride, in_stride, p,
                                              out + static_cast<std::size_t>(first + i) * out_stride + p * panel, out_stride,
                                              tiles);
                };
                if (N > 1 || half == whole || by.outputs - p * panel > panel / 2) {
                    in_tiles<V::pixels>(last - first,
                                        [&]<int P>(int i, int tiles) { of.template operator()<P, N * whole>(i, tiles); });
                } else if constexpr (half < whole) {
                    in_tiles<2 * V::pixels>(last - first,
                                            [&]<int P>(int i, int tiles) { of.template operator()<P, half>(i, tiles); });
                }
            });
        });
    }
}

/// Whether a tile's sums, weights and one pixel exceed the registers; then the last weights are read from memory.
template <class V, int P, int Vectors>
constexpr bool lacks_registers() {
    if constexpr (has_many_tiles<V>)
        return P * Vectors + Vectors + 1 > V::registers;
    else
        return false;
}

/// Successive tiles of P pixels times N panels of integers.
template <class V, int P, int N, Rescale How>
void byte_tiles(const ByteWeights& by, const typename V::Cell* const* starts, std::size_t at, std::size_t in_stride, int from,
                std::int8_t* out, std::size_t out_stride, int tiles) {
    constexpr int all = N * vectors<V>;
    const std::size_t panel_size = static_cast<std::size_t>(by.stretches * by.inner) * panel;
    const auto* first_weights = static_cast<const typename V::Cell*>(by.panels) + static_cast<std::size_t>(from) * panel_size;
    const int channel = from * panel, channels = by.outputs - channel;
    for (; tiles > 0; --tiles, at += P * in_stride, out += P * out_stride) {
        typename V::Ints sums[P][N][vectors<V>];
        UNROLLED
        for (int j = 0; j < all; ++j) {
            const auto start = V::load(by.bias + channel + j * V::width);
            UNROLLED
            for (int i = 0; i < P; ++i) sums[i][j / vectors<V>][j % vectors<V>] = start;
        }
        const auto* weights = first_weights;
        for (int s = 0; s < by.stretches; ++s) {
            Pixels<P, typename V::Cell> pixels(starts[s] + at, in_stride);
            _Pragma("GCC unroll 1") for (int k = by.inner; k > 0; k -= V::depth) {
                const auto place = [&](int j) {
                    return weights + static_cast<std::size_t>(j / vectors<V>) * panel_size +
                           j % vectors<V> * V::width * V::depth;
                };
                typename V::Weights each[all];
                UNROLLED
                for (int j = 0; j < all; ++j) each[j] = V::weights(place(j));
                UNROLLED
                for (int i = 0; i < P; ++i) {
                    const auto x = V::factors(pixels[i]);
                    UNROLLED
                    for (int j = 0; j < all; ++j) {
                        auto& sum = sums[i][j / vectors<V>][j % vectors<V>];
                        if constexpr (lacks_registers<V, P, all>()) {
                            if (j == all - 1) {
                                sum = V::dot_in_memory(sum, x, place(j));
                                continue;
                            }
                        }
                        sum = V::dot(sum, x, each[j]);
                    }
                }
                weights += panel * V::depth;
                pixels.advance(V::depth);
            }
        }
        store_tile<V, P, N, How>(Finished<V, P, N>(sums).sums, by, static_cast<std::size_t>(channel), out, out_stride,
                                 channels);
    }
}

template <class V>
void sum_bytes(const ByteWeights& by, Span panels, const void* const* starts, std::size_t in_stride, int count,
               std::int8_t* out, std::size_t out_stride) {
    const auto* cells = reinterpret_cast<const typename V::Cell* const*>(starts);
    Rounding<V> rounding;
    with_panels<V::byte_panels>(panels, [&]<int N>(int p) {
        rounding.set(direction_of(rescale_of(by, p, N)));
        with_tiles<V>(by, p, N, [&]<Rescale How>() {
            in_tiles<tile_pixels<V, N>>(count, [&]<int P>(int i, int tiles) {
                byte_tiles<V, P, N, How>(by, cells, static_cast<std::size_t>(i) * in_stride, in_stride, p,
                                         out + static_cast<std::size_t>(i) * out_stride + p * panel, out_stride, tiles);
            });
        });
    });
}

}  // namespace mobilenets
