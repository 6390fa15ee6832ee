// Pointwise convolutions, linear layers and patches of larger convolutions: pixels times panels of 16 output channels.
//
// A tile of a few pixels and one panel keeps all its sums in registers while it walks along the input channels.
#pragma once

#include "kernels.hpp"

namespace mobilenets {

#define UNROLLED _Pragma("GCC unroll 32")

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

/// P pixels times the first N vectors of a panel, of which `count` channels are stored.
template <class V, int P, int N>
void float_tile(const float* in, std::size_t in_stride, int inner, const float* weights, const float* bias, Clip clip, float* out,
                std::size_t out_stride, int count) {
    typename V::Floats sums[P][N];
    UNROLLED for (int j = 0; j < N; ++j) {
        const auto start = V::load(bias + j * V::width);
        UNROLLED for (int i = 0; i < P; ++i) sums[i][j] = start;
    }
    for (int k = 0; k < inner; ++k) {
        typename V::Floats each[N];
        UNROLLED for (int j = 0; j < N; ++j) each[j] = V::load(weights + j * V::width);
        UNROLLED for (int i = 0; i < P; ++i) {
            const auto x = V::all(in[static_cast<std::size_t>(i) * in_stride]);
            UNROLLED for (int j = 0; j < N; ++j) sums[i][j] = V::multiply_add(x, each[j], sums[i][j]);
        }
        weights += panel;
        ++in;
    }
    if (count >= N * V::width) {
        UNROLLED for (int i = 0; i < P; ++i) {
            UNROLLED for (int j = 0; j < N; ++j) V::store(out + static_cast<std::size_t>(i) * out_stride + j * V::width, clipped<V>(sums[i][j], clip));
        }
        return;
    }
    UNROLLED for (int i = 0; i < P; ++i) {
        UNROLLED for (int j = 0; j < N; ++j) {
            if (count > j * V::width) V::store(out + static_cast<std::size_t>(i) * out_stride + j * V::width, clipped<V>(sums[i][j], clip), count - j * V::width);
        }
    }
}

/// The same for integers; both vectors of a panel are always computed.
template <class V, int P>
void byte_tile(const typename V::Cell* in, int inner, const typename V::Cell* weights, const ByteWeights& by, int first, std::int8_t* out,
               std::size_t out_stride, int count) {
    constexpr int N = panel / V::width;
    typename V::Ints sums[P][N];
    UNROLLED for (int j = 0; j < N; ++j) {
        const auto start = V::load(by.bias + first + j * V::width);
        UNROLLED for (int i = 0; i < P; ++i) sums[i][j] = start;
    }
    for (int k = 0; k < inner; k += V::depth) {
        UNROLLED for (int i = 0; i < P; ++i) {
            const auto x = V::factors(in + i * inner + k);
            UNROLLED for (int j = 0; j < N; ++j) sums[i][j] = V::dot(sums[i][j], x, weights + j * V::width * V::depth);
        }
        weights += panel * V::depth;
    }
    typename V::Ints mantissas[N], rights[N];
    UNROLLED for (int j = 0; j < N; ++j) {
        mantissas[j] = V::load(by.mantissas + first + j * V::width);
        rights[j] = V::load(by.rights + first + j * V::width);
    }
    const auto bounds = V::bounds(by.zero_point, by.low, by.high);
    UNROLLED for (int i = 0; i < P; ++i) {
        UNROLLED for (int j = 0; j < N; ++j) {
            if (by.lefts) sums[i][j] = V::shift_left(sums[i][j], V::load(by.lefts + first + j * V::width));
            sums[i][j] = V::scale(sums[i][j], mantissas[j], rights[j]);
        }
        if (count >= panel) {
            V::store(out + static_cast<std::size_t>(i) * out_stride, sums[i], bounds);
        } else {
            V::store(out + static_cast<std::size_t>(i) * out_stride, sums[i], bounds, count);
        }
    }
}

/// Calls `tile` with a constant number of pixels, as many as are left and at most `P`; gives that number.
template <int P, typename Tile>
int with_pixels(int left, const Tile& tile) {
    if constexpr (P > 1) {
        if (left < P) return with_pixels<P - 1>(left, tile);
    }
    tile.template operator()<P>();
    return P;
}

constexpr int chunk_bytes = 32 * 1024;  // of pixels that stay in the first cache while the panels pass by

static inline int pixels_of_chunk(int inner_bytes, int tile) {
    const int count = chunk_bytes / (inner_bytes > 0 ? inner_bytes : 1) / tile * tile;
    return count < tile ? tile : count;
}

template <class V>
void sum_floats(const FloatWeights& by, Span panels, const float* in, std::size_t in_stride, int count, float* out, std::size_t out_stride) {
    constexpr int whole = panel / V::width, half = whole / 2;
    const int chunk = pixels_of_chunk(by.inner * 4, 2 * V::pixels);
    for (int first = 0; first < count; first += chunk) {
        const int last = first + chunk < count ? first + chunk : count;
        for (int p = panels.from; p < panels.to; ++p) {
            const float* weights = by.panels + static_cast<std::size_t>(p) * static_cast<std::size_t>(by.inner) * panel;
            const int channels = by.outputs - p * panel;
            const auto at = [&]<int P, int N>(int i) {
                float_tile<V, P, N>(in + static_cast<std::size_t>(i) * in_stride, in_stride, by.inner, weights, by.bias + p * panel, by.clip,
                                    out + static_cast<std::size_t>(i) * out_stride + p * panel, out_stride, channels);
            };
            for (int i = first; i < last;) {
                if (channels > panel / 2) {
                    i += with_pixels<V::pixels>(last - i, [&]<int P>() { at.template operator()<P, whole>(i); });
                } else {
                    i += with_pixels<2 * V::pixels>(last - i, [&]<int P>() { at.template operator()<P, half>(i); });
                }
            }
        }
    }
}

template <class V>
void sum_bytes(const ByteWeights& by, Span panels, const void* cells, int count, std::int8_t* out, std::size_t out_stride) {
    using Cell = typename V::Cell;
    const auto* in = static_cast<const Cell*>(cells);
    for (int p = panels.from; p < panels.to; ++p) {
        const Cell* weights = static_cast<const Cell*>(by.panels) + static_cast<std::size_t>(p) * static_cast<std::size_t>(by.inner) * panel;
        const int channels = by.outputs - p * panel;
        for (int i = 0; i < count;) {
            i += with_pixels<V::pixels>(count - i, [&]<int P>() {
                byte_tile<V, P>(in + static_cast<std::size_t>(i) * static_cast<std::size_t>(by.inner), by.inner, weights, by, p * panel,
                                out + static_cast<std::size_t>(i) * out_stride + p * panel, out_stride, channels);
            });
        }
    }
}

}  // namespace mobilenets
