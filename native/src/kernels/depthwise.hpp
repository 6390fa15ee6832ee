// One row of a float depthwise convolution: each channel with its own small filter.
#pragma once

#include "sums.hpp"

namespace mobilenets {

/// Finds the pixels of the map, or of `missing`, in the window at the output column `x`.
static inline void find_taps(const DepthwiseRow& row, int x, std::size_t number_bytes, const std::byte** tap) {
    for (int ky = 0; ky < row.kernel_height; ++ky) {
        for (int kx = 0; kx < row.kernel_width; ++kx) {
            const int column = x * row.stride - row.left + kx * row.dilation;
            const bool inside = column >= 0 && column < row.width && row.rows[ky] != row.missing;
            const auto at = static_cast<std::size_t>(column) * static_cast<std::size_t>(row.channels) * number_bytes;
            *tap++ = inside ? row.rows[ky] + at : row.missing;
        }
    }
}

/// One output pixel anywhere in the row. The weights of a panel are [taps][16].
template <class V, typename Read, typename Made>
void depthwise_float_place(const FloatWeights& by, const DepthwiseRow& row, int x, Made* out) {
    find_taps(row, x, sizeof(Read), row.taps);
    for (int c = row.panels.from * panel; c < by.outputs && c < row.panels.to * panel; c += V::width) {
        const float* weights = by.panels + static_cast<std::size_t>(c / panel * by.inner) * panel + c % panel;
        auto sum = V::load(by.bias + c);
        for (int t = 0; t < by.inner; ++t) {
            sum = V::multiply_add(V::load(reinterpret_cast<const Read*>(row.taps[t]) + c), V::load(weights + t * panel), sum);
        }
        V::store(out + c, clipped<V>(sum, by.clip), by.outputs - c);
    }
}

/// Which columns of some windows are outside of the map: none, half a filter on one side or both, or any.
enum class Beside : std::uint8_t { none, left, right, both, any };

/// The columns of a row in some windows, with `missing` for those outside of the map; half a filter is `Half` columns.
template <typename Number, Beside Where, int Columns, int Half>
class SeenRow {
public:
    SeenRow(const DepthwiseRow& row, const std::byte* of, int first, int channel)
        : in_(reinterpret_cast<const Number*>(of) + channel),
          missing_(reinterpret_cast<const Number*>(row.missing) + channel),
          across_(of == row.missing ? 0 : row.channels),
          first_(first),
          width_(row.width) {}

    const Number* operator[](int column) const { return is_there(column) ? in_ + (first_ + column) * across_ : missing_; }

private:
    bool is_there(int column) const {
        if constexpr (Where == Beside::any) return first_ + column >= 0 && first_ + column < width_;
        constexpr bool left = Where == Beside::left || Where == Beside::both;
        constexpr bool right = Where == Beside::right || Where == Beside::both;
        return !(left && column < Half) && !(right && column >= Columns - Half);
    }

    const Number *in_, *missing_;
    std::ptrdiff_t across_;
    int first_, width_;
};

/// Calls `of` with the position of the columns from `first` on as a compile-time constant; with fewer cases if code size
/// matters.
template <class V, int Columns, int Half, typename Of>
void with_beside(int first, int width, const Of& of) {
    const int left = first < 0 ? -first : 0, last = first + Columns - width, right = last > 0 ? last : 0;
    if (left == 0 && right == 0) return of.template operator()<Beside::none>();
    if constexpr (has_many_tiles<V>) {
        if (left == Half && right == 0) return of.template operator()<Beside::left>();
        if (left == 0 && right == Half) return of.template operator()<Beside::right>();
        if (left == Half && right == Half) return of.template operator()<Beside::both>();
    }
    of.template operator()<Beside::any>();
}

/// The sums of P neighboring pixels in each of R rows; channels from `channel` on are stored.
template <class V, int P, int R, Ending End, typename Made>
inline void store_places(const FloatWeights& by, const typename V::Floats (&sums)[R][P], const DepthwiseRow& row, int x,
                         int channel, Made* const* outs) {
    const auto channels = static_cast<std::size_t>(row.channels);
    UNROLLED
    for (int r = 0; r < R; ++r) {
        typename V::Floats place[P][1];
        UNROLLED
        for (int i = 0; i < P; ++i) place[i][0] = sums[r][i];
        store_floats<V, P, 1, End>(place, by.clip, outs[r] + static_cast<std::size_t>(x) * channels + channel, channels,
                                   by.outputs - channel);
    }
}

/// Tiles of P neighboring pixels in each of R rows, for a vector of channels and a W x W kernel. A row in several windows is
/// read once.
template <class V, typename Read, typename Made>
struct FloatWindows {
    using Numbers = V;
    using Result = Made;

    template <int W, int S, int P, int R, Beside Where, Ending End>
    static void tile(const FloatWeights& by, const DepthwiseRow& row, int x, int channel, Made* const* outs);
};

template <class V, typename Read, typename Made>
template <int W, int S, int P, int R, Beside Where, Ending End>
inline void FloatWindows<V, Read, Made>::tile(const FloatWeights& by, const DepthwiseRow& row, int x, int channel,
                                              Made* const* outs) {
    constexpr int columns = (P - 1) * S + W, height = W;
    const float* weights = by.panels + static_cast<std::size_t>(channel / panel * W * W) * panel + channel % panel;
    typename V::Floats sums[R][P];
    const auto start = V::load(by.bias + channel);
    UNROLLED
    for (int i = 0; i < R * P; ++i) sums[i / P][i % P] = start;
    UNROLLED
    for (int y = 0; y < height + R - 1; ++y) {
        const SeenRow<Read, Where, columns, W / 2> seen(row, row.rows[y], x * S - row.left, channel);
        typename V::Floats numbers[columns];
        UNROLLED
        for (int c = 0; c < columns; ++c) numbers[c] = V::load(seen[c]);
        UNROLLED
        for (int r = 0; r < R; ++r) {
            if (y < r || y - r >= height) continue;
            const float* filter = weights + (y - r) * W * panel;
            UNROLLED
            for (int kx = 0; kx < W; ++kx) {
                const auto weight = V::load(filter + kx * panel);
                UNROLLED
                for (int i = 0; i < P; ++i) sums[r][i] = V::multiply_add(numbers[i * S + kx], weight, sums[r][i]);
            }
        }
    }
    store_places<V, P, R, End>(by, sums, row, x, channel, outs);
}

/// All pixels of the rows. The last tile overlaps the one before it.
template <class Windows, int W, int S, int P, int R>
void depthwise_rows(const FloatWeights& by, const DepthwiseRow& row, typename Windows::Result* const* outs) {
    using V = typename Windows::Numbers;
    with_ending<V>(by.clip, [&]<Ending End>() {
        for (int x = 0; x < row.out_width; x += P) {
            const int at = x + P <= row.out_width ? x : row.out_width - P;
            with_beside<V, (P - 1) * S + W, W / 2>(at * S - row.left, row.width, [&]<Beside Where>() {
                for (int c = row.panels.from * panel; c < by.outputs && c < row.panels.to * panel; c += V::width)
                    Windows::template tile<W, S, P, R, Where, End>(by, row, at, c, outs);
            });
        }
    });
}

/// Whether there is tiled code for this filter.
static inline bool has_tiles(const DepthwiseRow& row) {
    return row.dilation == 1 && row.kernel_height == row.kernel_width && row.stride <= 2 &&
           (row.kernel_width == 3 || row.kernel_width == 5);
}

/// How many neighboring rows are computed at once.
static inline int float_rows_at_once(const DepthwiseRow& row) { return has_tiles(row) && row.stride == 1 ? 2 : 1; }

/// Computes the rows P pixels at a time; returns whether there is tiled code for this filter and width.
template <class Windows, int P>
bool depthwise_in_tiles(const FloatWeights& by, const DepthwiseRow& row, typename Windows::Result* const* outs) {
    if (!has_tiles(row) || row.out_width < P) return false;
    switch (row.kernel_width * 100 + row.stride * 10 + row.out_rows) {
        case 311: return depthwise_rows<Windows, 3, 1, P, 1>(by, row, outs), true;
        case 312: return depthwise_rows<Windows, 3, 1, P, 2>(by, row, outs), true;
        case 321: return depthwise_rows<Windows, 3, 2, P, 1>(by, row, outs), true;
        case 511: return depthwise_rows<Windows, 5, 1, P, 1>(by, row, outs), true;
        case 512: return depthwise_rows<Windows, 5, 1, P, 2>(by, row, outs), true;
        case 521: return depthwise_rows<Windows, 5, 2, P, 1>(by, row, outs), true;
        default: return false;
    }
}

template <class V, typename Read, typename Made>
void depthwise_floats(const FloatWeights& by, const DepthwiseRow& row, Made* const* outs) {
    using Windows = FloatWindows<V, Read, Made>;
    if constexpr (has_many_tiles<V>) {  // registers for more sums
        if (depthwise_in_tiles<Windows, 7>(by, row, outs)) return;
    }
    if (depthwise_in_tiles<Windows, 4>(by, row, outs)) return;
    for (int r = 0; r < row.out_rows; ++r) {
        DepthwiseRow one = row;
        one.rows += r, one.out_rows = 1;
        for (int x = 0; x < row.out_width; ++x) {
            Made* place = outs[r] + static_cast<std::size_t>(x) * static_cast<std::size_t>(row.channels);
            depthwise_float_place<V, Read>(by, one, x, place);
        }
    }
}

}  // namespace mobilenets
