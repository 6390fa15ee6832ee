// Tiles of pixels: the address of each pixel, and how many are computed at once.
#pragma once

#include "records.hpp"

namespace mobilenets {

/// The addresses of P equally spaced pixels. Only a few multiples of the spacing are stored; addressing modes scale them.
template <int P, typename Number>
class Pixels {
public:
    Pixels(const Number* first, std::size_t stride) : first_(first) {
        for (int i = 0; i < P / 2; ++i) odd_[i] = stride * static_cast<std::size_t>(2 * i + 1);
    }

    const Number* operator[](int i) const {
        int shift = 0;
        if (i == 0) return first_;
        while (i % 2 == 0) i /= 2, ++shift;
        return first_ + (odd_[i / 2] << shift);
    }
    void advance(int numbers) { first_ += numbers; }

private:
    const Number* first_;
    std::size_t odd_[P / 2 + 1] = {};
};

/// The number of pixels in a tile of N panels: as many as registers can hold sums for.
template <class V, int N>
inline constexpr int tile_pixels = N <= V::tile_panels ? V::pixels : V::pixels * V::tile_panels / N;

/// Calls `tile` with exactly `count` pixels as a compile-time constant.
template <int P, typename Tile>
int with_exactly(int count, const Tile& tile) {
    if constexpr (P > 1) {
        if (count < P) return with_exactly<P - 1>(count, tile);
    }
    tile.template operator()<P>();
    return P;
}

/// Calls `tile` with the remaining pixels, at most P, and returns their number. The last two tiles share the remainder evenly.
template <int P, typename Tile>
int with_pixels(int left, const Tile& tile) {
    return with_exactly<P>(left > P && left < 2 * P ? (left + 1) / 2 : left, tile);
}

/// Calls `tiles` with a number of pixels per tile (a compile-time constant), the first pixel, and the number of such tiles:
/// first for tiles of P pixels, then for the remainder.
template <int P, typename Tiles>
void in_tiles(int count, const Tiles& tiles) {
    const int whole = count % P == 0 || count < P ? count / P : count / P - 1;
    if (whole > 0) tiles.template operator()<P>(0, whole);
    for (int i = whole * P; i < count;) {
        i += with_pixels<P>(count - i, [&]<int Q>() { tiles.template operator()<Q>(i, 1); });
    }
}

constexpr int chunk_bytes = 64 * 1024;  // of pixels that stay in the caches while all panels are applied to them

static inline int pixels_of_chunk(int inner_bytes, int tile) {
    const int count = chunk_bytes / (inner_bytes > 0 ? inner_bytes : 1) / tile * tile;
    return count < tile ? tile : count;
}

/// Calls `of` with a number of panels (a compile-time constant) and the first of them, until all panels are done.
template <int N, typename Of>
void with_panels(Span panels, const Of& of) {
    int p = panels.from;
    for (; panels.to - p >= N; p += N) of.template operator()<N>(p);
    if constexpr (N > 1) {
        if (p < panels.to) with_panels<N - 1>({p, panels.to}, of);
    }
}

}  // namespace mobilenets
