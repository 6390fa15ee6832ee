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
void float_tile(const float* in, std::size_t in_stride, int inner, const float* weights, const float* bias, Clip clip,
                float* out, std::size_t out_stride, int count) {
    typename V::Floats sums[P][N];
    UNROLLED
    for (int j = 0; j < N; ++j) {
        const auto start = V::load(bias + j * V::width);
        UNROLLED
        for (int i = 0; i < P; ++i) sums[i][j] = start;
    }
    for (int k = 0; k < inner; ++k) {
        typename V::Floats each[N];
        UNROLLED
        for (int j = 0; j < N; ++j) each[j] = V::load(weights + j * V::width);
        UNROLLED
        for (int i = 0; i < P; ++i) {
            const auto x = V::all(in[static_cast<std::size_t>(i) * in_stride]);
            UNROLLED
            for (int j = 0; j < N; ++j) sums[i][j] = V::multiply_add(x, each[j], sums[i][j]);
        }
        weights += panel;
        ++in;
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

/// One vector of sums at the scale of what is made. `Shrinks` says that all right shifts are positive, as they nearly always
/// are.
template <class V, bool Shrinks>
inline typename V::Ints rescaled(typename V::Ints sums, const ByteWeights& by, int at) {
    const auto mantissas = V::load(by.mantissas + at), rights = V::load(by.rights + at);
    if constexpr (Shrinks) return V::shrink(sums, mantissas, rights, V::load(by.halves + at));
    if (by.lefts) sums = V::shift_left(sums, V::load(by.lefts + at));
    return V::scale(sums, mantissas, rights);
}

/// The sums of P pixels and one panel become bytes, of which `count` channels are stored.
template <class V, int P, bool Shrinks>
inline void store_tile(const typename V::Ints (&sums)[P][panel / V::width], const ByteWeights& by, int first, std::int8_t* out,
                       std::size_t out_stride, int count) {
    const auto bounds = V::bounds(by.zero_point, by.low, by.high);
    UNROLLED
    for (int i = 0; i < P; ++i) {
        typename V::Ints made[panel / V::width];
        UNROLLED
        for (int j = 0; j < panel / V::width; ++j) made[j] = rescaled<V, Shrinks>(sums[i][j], by, first + j * V::width);
        if (count >= panel)
            V::store(out + static_cast<std::size_t>(i) * out_stride, made, bounds);
        else
            V::store(out + static_cast<std::size_t>(i) * out_stride, made, bounds, count);
    }
}

/// The same for integers; both vectors of a panel are always computed.
template <class V, int P, bool Shrinks>
void byte_tile(const typename V::Cell* in, int inner, const typename V::Cell* weights, const ByteWeights& by, int first,
               std::int8_t* out, std::size_t out_stride, int count) {
    constexpr int N = panel / V::width;
    typename V::Ints sums[P][N];
    UNROLLED
    for (int j = 0; j < N; ++j) {
        const auto start = V::load(by.bias + first + j * V::width);
        UNROLLED
        for (int i = 0; i < P; ++i) sums[i][j] = start;
    }
    for (int k = 0; k < inner; k += V::depth) {
        UNROLLED
        for (int i = 0; i < P; ++i) {
            const auto x = V::factors(in + i * inner + k);
            UNROLLED
            for (int j = 0; j < N; ++j) sums[i][j] = V::dot(sums[i][j], x, weights + j * V::width * V::depth);
        }
        weights += panel * V::depth;
    }
    store_tile<V, P, Shrinks>(sums, by, first, out, out_stride, count);
}

/// Calls `tile` with exactly `count` pixels, a constant for it.
template <int P, typename Tile>
int with_exactly(int count, const Tile& tile) {
    if constexpr (P > 1) {
        if (count < P) return with_exactly<P - 1>(count, tile);
    }
    tile.template operator()<P>();
    return P;
}

/// Calls `tile` with as many pixels as are left, at most P; gives that number. The last two tiles share what is left evenly.
template <int P, typename Tile>
int with_pixels(int left, const Tile& tile) {
    return with_exactly<P>(left > P && left < 2 * P ? (left + 1) / 2 : left, tile);
}

constexpr int chunk_bytes = 32 * 1024;  // of pixels that stay in the first cache while the panels pass by

static inline int pixels_of_chunk(int inner_bytes, int tile) {
    const int count = chunk_bytes / (inner_bytes > 0 ? inner_bytes : 1) / tile * tile;
    return count < tile ? tile : count;
}

template <class V>
void sum_floats(const FloatWeights& by, Span panels, const float* in, std::size_t in_stride, int count, float* out,
                std::size_t out_stride) {
    constexpr int whole = panel / V::width, half = whole / 2;
    const int chunk = pixels_of_chunk(by.inner * 4, 2 * V::pixels);
    for (int first = 0; first < count; first += chunk) {
        const int last = first + chunk < count ? first + chunk : count;
        for (int p = panels.from; p < panels.to; ++p) {
            const float* weights = by.panels + static_cast<std::size_t>(p) * static_cast<std::size_t>(by.inner) * panel;
            const int channels = by.outputs - p * panel;
            const auto at = [&]<int P, int N>(int i) {
                float_tile<V, P, N>(in + static_cast<std::size_t>(i) * in_stride, in_stride, by.inner, weights,
                                    by.bias + p * panel, by.clip, out + static_cast<std::size_t>(i) * out_stride + p * panel,
                                    out_stride, channels);
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

template <class V, bool Shrinks>
void sum_bytes_scaled(const ByteWeights& by, Span panels, const typename V::Cell* in, int count, std::int8_t* out,
                      std::size_t out_stride) {
    const auto inner = static_cast<std::size_t>(by.inner);
    for (int p = panels.from; p < panels.to; ++p) {
        const auto* weights = static_cast<const typename V::Cell*>(by.panels) + static_cast<std::size_t>(p) * inner * panel;
        for (int i = 0; i < count;) {
            i += with_pixels<V::pixels>(count - i, [&]<int P>() {
                byte_tile<V, P, Shrinks>(in + static_cast<std::size_t>(i) * inner, by.inner, weights, by, p * panel,
                                         out + static_cast<std::size_t>(i) * out_stride + p * panel, out_stride,
                                         by.outputs - p * panel);
            });
        }
    }
}

template <class V>
void sum_bytes(const ByteWeights& by, Span panels, const void* cells, int count, std::int8_t* out, std::size_t out_stride) {
    const auto* in = static_cast<const typename V::Cell*>(cells);
    if (by.halves)
        sum_bytes_scaled<V, true>(by, panels, in, count, out, out_stride);
    else
        sum_bytes_scaled<V, false>(by, panels, in, count, out, out_stride);
}

}  // namespace mobilenets
