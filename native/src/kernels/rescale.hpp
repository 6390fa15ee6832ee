// Conversion of integer sums to bytes: each is rescaled to the output scale, rounded as the specification requires, and stored.
#pragma once

#include "records.hpp"

namespace mobilenets {

#define ALWAYS_INLINE [[gnu::always_inline]] inline
#define UNROLLED _Pragma("GCC unroll 32")

template <class V>
inline constexpr int vectors = panel / V::width;  // of a panel

/// Whether the bias contains an extra amount for one of the float methods, which the other methods undo.
template <class V>
inline constexpr bool has_more = V::has_reals || V::has_float_sums;

template <class V, Rescale How>
constexpr Packing packing_of() {
    if constexpr (How == Rescale::float_sums)
        return V::float_sums;
    else
        return How == Rescale::reals ? Packing::whole : Packing::without_zero_point;
}

/// One vector of sums, rescaled to the output; `at` is the position of its first channel.
template <class V, Rescale How>
inline typename V::Ints rescaled(typename V::Ints sums, const ByteWeights& by, std::size_t at) {
    if constexpr (How == Rescale::float_sums) {
        return V::float_sum(sums, V::load(by.factors + at), V::load(by.half + at));
    } else if constexpr (How == Rescale::reals || How == Rescale::signed_reals) {
        const auto factors = V::load(by.factors + at), half = V::load(by.half + at);
        return How == Rescale::reals ? V::real(sums, factors, half) : V::signed_real(sums, factors, half);
    } else {
        if constexpr (has_more<V>) {
            if (by.back) sums = V::add(sums, V::load(by.back + at));
        }
        const auto mantissas = V::load(by.mantissas + at), rights = V::load(by.rights + at);
        if constexpr (How == Rescale::shrinking) {
            return V::shrink(sums, mantissas, rights, V::load(by.halves + at));
        } else {
            if (by.lefts) sums = V::shift_left(sums, V::load(by.lefts + at));
            return V::scale(sums, mantissas, rights);
        }
    }
}

/// As many panels as V packs at once, starting at `start`, as bytes.
template <class V, int P, int N, Rescale How>
inline auto packed_panels(const typename V::Ints (&made)[P][N][vectors<V>], int start, const typename V::Bounds& bounds) {
    typename V::Ints panels[V::packed_panels * vectors<V>];
    UNROLLED
    for (int q = 0; q < V::packed_panels; ++q) {
        const int at = start + q < P * N ? start + q : P * N - 1;
        UNROLLED
        for (int j = 0; j < vectors<V>; ++j) panels[q * vectors<V> + j] = made[at / N][at % N][j];
    }
    return V::template packed<packing_of<V, How>()>(panels, bounds);
}

/// Stores the sums of P pixels and N panels, `count` channels of them. All pixels of a panel are rescaled before the next
/// panel, so that few parameters are in registers. Nothing is stored before everything is packed: after each store, the
/// compiler would have to load the fields of `by` again.
template <class V, int P, int N, Rescale How>
inline void store_tile_as(const typename V::Ints (&sums)[P][N][vectors<V>], const ByteWeights& by, std::size_t first,
                          std::int8_t* out, std::size_t out_stride, int count) {
    constexpr int side_by_side = N % V::packed_panels == 0 ? V::packed_panels : N % 2 == 0 && V::packed_panels > 1 ? 2 : 1;
    constexpr int all = (P * N + V::packed_panels - 1) / V::packed_panels;
    typename V::Ints made[P][N][vectors<V>];
    UNROLLED
    for (int j = 0; j < N * vectors<V>; ++j) {
        UNROLLED
        for (int i = 0; i < P; ++i) {
            made[i][j / vectors<V>][j % vectors<V>] = rescaled<V, How>(sums[i][j / vectors<V>][j % vectors<V>], by,
                                                                       first + static_cast<std::size_t>(j * V::width));
        }
    }
    const auto zero_point = V::bounds(by.zero_point, lowest, highest);
    decltype(packed_panels<V, P, N, How>(made, 0, zero_point)) bytes[all];
    UNROLLED
    for (int i = 0; i < all; ++i) bytes[i] = packed_panels<V, P, N, How>(made, i * V::packed_panels, zero_point);
    if (by.clips()) {
        const auto bounds = V::bounds(by.zero_point, by.low, by.high);
        UNROLLED
        for (int i = 0; i < all; ++i) bytes[i] = V::clipped(bytes[i], bounds);
    }
    UNROLLED
    for (int at = 0; at < P * N; at += side_by_side) {
        V::template store<side_by_side>(out + static_cast<std::size_t>(at / N) * out_stride + at % N * panel,
                                        bytes[at / V::packed_panels], at % V::packed_panels, count - at % N * panel);
    }
}

/// The final sums of a tile. Clang would keep sums in memory during the summation if their address is taken later, so for Clang
/// this is a copy.
template <class V, int P, int N>
struct Finished {
#ifdef __clang__
    typename V::Ints sums[P][N][vectors<V>];

    explicit Finished(const typename V::Ints (&from)[P][N][vectors<V>]) {
        UNROLLED
        for (int i = 0; i < P * N * vectors<V>; ++i) {
            constexpr int width = N * vectors<V>;
            sums[i / width][i % width / vectors<V>][i % vectors<V>] = from[i / width][i % width / vectors<V>][i % vectors<V>];
        }
    }
#else
    const typename V::Ints (&sums)[P][N][vectors<V>];

    explicit Finished(const typename V::Ints (&from)[P][N][vectors<V>]) : sums(from) {}
#endif
};

/// For instruction sets whose instructions encode the rounding mode: nothing needs to be set.
struct RoundsByItself {
    explicit RoundsByItself(Direction = Direction::nearest) {}
    void set(Direction) {}
};
template <class V>
struct RoundingBy {
    using Way = RoundsByItself;
};
template <class V>
    requires requires { typename V::Rounding; }
struct RoundingBy<V> {
    using Way = typename V::Rounding;
};
template <class V>
using Rounding = typename RoundingBy<V>::Way;

static inline Direction direction_of(Rescale how) {
    return how == Rescale::reals          ? Direction::down
           : how == Rescale::signed_reals ? Direction::to_zero
                                          : Direction::nearest;
}

/// How the sums of some neighboring panels are rescaled.
static inline Rescale rescale_of(const ByteWeights& by, int first, int panels) {
    if (!by.ways) return by.rescale;
    for (int p = first + 1; p < first + panels; ++p) {
        if (by.ways[p] != by.ways[first]) return Rescale::any;
    }
    return by.ways[first];
}

/// Whether tiles are compiled separately for each kind of ending, which is faster; otherwise they branch, which saves code
/// size.
template <class V>
inline constexpr bool has_many_tiles = requires { V::registers; };

/// Calls `of` with the rescaling method as a compile-time constant, one of those that the instruction set supports.
template <class V, typename Of>
inline void with_rescale(Rescale how, const Of& of) {
    if constexpr (V::has_float_sums) {
        if (how == Rescale::float_sums) return of.template operator()<Rescale::float_sums>();
    }
    if constexpr (V::has_reals) {
        if (how == Rescale::reals) return of.template operator()<Rescale::reals>();
        if (how == Rescale::signed_reals) return of.template operator()<Rescale::signed_reals>();
    }
    if constexpr (V::has_shrink) {
        if (how == Rescale::shrinking) return of.template operator()<Rescale::shrinking>();
    }
    of.template operator()<Rescale::any>();
}

/// The same for tiles, which get Rescale::any if they select the method themselves.
template <class V, typename Of>
void with_tiles(const ByteWeights& by, int first, int panels, const Of& of) {
    if constexpr (has_many_tiles<V>)
        with_rescale<V>(rescale_of(by, first, panels), of);
    else
        of.template operator()<Rescale::any>();
}

template <class V, int P, int N, Rescale How>
inline void store_tile_now(const typename V::Ints (&sums)[P][N][vectors<V>], const ByteWeights& by, std::size_t first,
                           std::int8_t* out, std::size_t out_stride, int count) {
    if constexpr (has_more<V> && How == Rescale::any) {  // rare: a loop, so that the code stays small
        typename V::Ints pixels[P][1][N][vectors<V>];
        UNROLLED
        for (int i = 0; i < P; ++i) {
            UNROLLED
            for (int j = 0; j < N * vectors<V>; ++j)
                pixels[i][0][j / vectors<V>][j % vectors<V>] = sums[i][j / vectors<V>][j % vectors<V>];
        }
        _Pragma("GCC unroll 1") for (int i = 0; i < P; ++i) {
            store_tile_as<V, 1, N, Rescale::any>(pixels[i], by, first, out + static_cast<std::size_t>(i) * out_stride, 0,
                                                 count);
        }
    } else {
        store_tile_as<V, P, N, How>(sums, by, first, out, out_stride, count);
    }
}

/// Converts the sums of P pixels and N panels to bytes.
template <class V, int P, int N, Rescale How>
inline void store_tile(const typename V::Ints (&sums)[P][N][vectors<V>], const ByteWeights& by, std::size_t first,
                       std::int8_t* out, std::size_t out_stride, int count) {
    if constexpr (has_many_tiles<V>)
        store_tile_now<V, P, N, How>(sums, by, first, out, out_stride, count);
    else
        with_rescale<V>(rescale_of(by, static_cast<int>(first) / panel, N),
                        [&]<Rescale Now>() { store_tile_now<V, P, N, Now>(sums, by, first, out, out_stride, count); });
}

}  // namespace mobilenets
