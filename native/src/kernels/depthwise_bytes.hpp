// One row of a depthwise convolution of integers.
//
// Where an instruction set multiplies and adds four bytes at once, the rows that a filter sees are interleaved, so that these
// four are one column of the filter; a column serves all windows that it is in. Elsewhere taps are taken in pairs.
#pragma once

#include "depthwise.hpp"

namespace mobilenets {

// ---- pairs of taps

/// P neighboring places and one panel; `taps` lie `by.inner` + 1 apart.
template <class V, int P>
void pairs_tile(const ByteWeights& by, const DepthwiseRow& row, int p, std::int8_t* out) {
    const int c = p * panel, pairs = (by.inner + 1) / 2;
    const auto* weights = static_cast<const typename V::Cell*>(by.panels) +
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
    store_tile<V, P, 1>(sums, by, static_cast<std::size_t>(c), out + c, static_cast<std::size_t>(row.channels), by.outputs - c);
}

template <class V>
struct ByPairs {
    static int parts(int channels) { return panels_of(channels); }
    static int place(int channel, int) { return channel / panel * panel + V::place(channel % panel); }
    static std::size_t bytes(int channels, int height, int width) {
        return static_cast<std::size_t>(panels_of(channels)) * static_cast<std::size_t>((height * width + 1) / 2) *
               V::tap_cells * sizeof(typename V::Cell);
    }
    static void pack(const std::int8_t* weights, int channels, int height, int width, void* to) {
        auto* cells = static_cast<typename V::Cell*>(to);
        const int taps = height * width, pairs = (taps + 1) / 2;
        for (int c = 0; c < channels; ++c) {
            for (int tap = 0; tap < taps; ++tap) {
                const auto pair = static_cast<std::size_t>(c / panel * pairs + tap / 2) * V::tap_cells;
                cells[pair + static_cast<std::size_t>(V::tap_place(c % panel, tap % 2))] = *weights++;
            }
        }
    }
    static void compute(const ByteWeights& by, const DepthwiseRow& row, std::int8_t* out) {
        for (int x = 0; x < row.out_width;) {
            const int pixels = row.out_width - x < pixels_of_taps ? row.out_width - x : pixels_of_taps;
            for (int i = 0; i < pixels; ++i) {
                const std::byte** taps = row.taps + i * (by.inner + 1);
                find_taps(row, x + i, 1, taps);
                taps[by.inner] = row.missing;  // if their number is odd: the last pair's second weight is 0
            }
            std::int8_t* here = out + static_cast<std::size_t>(x) * static_cast<std::size_t>(row.channels);
            for (int p = row.panels.from; p < row.panels.to; ++p) {
                with_exactly<pixels_of_taps>(pixels, [&]<int P>() { pairs_tile<V, P>(by, row, p, here); });
            }
            x += pixels;
        }
    }
};

// ---- columns of interleaved rows

/// The four vectors of a column, of one group of four rows.
template <class Block>
struct Column {
    typename Block::Vector of[4];
};

template <class Block>
inline Column<Block> interleaved(const std::int8_t* const (&rows)[4], std::size_t at) {
    const auto a = Block::raised(rows[0] + at), b = Block::raised(rows[1] + at);
    const auto c = Block::raised(rows[2] + at), d = Block::raised(rows[3] + at);
    const auto low = Block::low_bytes(a, b), low_next = Block::low_bytes(c, d);
    const auto high = Block::high_bytes(a, b), high_next = Block::high_bytes(c, d);
    return {{Block::low_pairs(low, low_next), Block::high_pairs(low, low_next), Block::low_pairs(high, high_next),
             Block::high_pairs(high, high_next)}};
}

/// The rows that a filter sees, in groups of four; of a group that is not full, the last row stands for the others.
class RowGroups {
public:
    static constexpr int most = 4;

    RowGroups(const DepthwiseRow& row, int channel) : row_(row) {
        for (int i = 0; i < 4 * most; ++i) {
            const int y = i < row.kernel_height ? i : row.kernel_height - 1;
            rows_[i / 4][i % 4] = reinterpret_cast<const std::int8_t*>(row.rows[y]) + channel;
            beside_[i % 4] = reinterpret_cast<const std::int8_t*>(row.missing) + channel;
        }
    }

    template <class Block>
    Column<Block> column(int group, int x) const {
        const bool is_inside = x >= 0 && x < row_.width;
        return interleaved<Block>(is_inside ? rows_[group] : beside_,
                                  is_inside ? static_cast<std::size_t>(x) * static_cast<std::size_t>(row_.channels) : 0);
    }

private:
    const DepthwiseRow& row_;
    const std::int8_t* rows_[most][4];
    const std::int8_t* beside_[4];
};

/// The sums of P pixels of a block become bytes, of which `count` pixels are stored.
template <class V, int Channels, int P>
inline void store_block(const typename V::template Block<Channels>::Vector (&sums)[P][4], const ByteWeights& by,
                        std::size_t first, std::int8_t* out, std::size_t out_stride, int count, int channels) {
    using Block = typename V::template Block<Channels>;
    constexpr int whole = Channels / V::width, at_once = V::packed_panels / whole;
    const auto bounds = V::bounds(by.zero_point, by.low, by.high);
    const Rescale how = rescale_of(by, first, panels_of(channels));
    UNROLLED
    for (int start = 0; start < P; start += at_once) {
        typename V::Ints made[V::packed_panels];
        UNROLLED
        for (int q = 0; q < at_once; ++q) {
            typename V::Ints block[whole];
            Block::widen(sums[start + q < P ? start + q : P - 1], block);
            UNROLLED
            for (int j = 0; j < whole; ++j) {
                const std::size_t at = first + static_cast<std::size_t>(j * V::width);
                made[q * whole + j] = how == Rescale::reals          ? rescaled<V, Rescale::reals>(block[j], by, at)
                                      : how == Rescale::signed_reals ? rescaled<V, Rescale::signed_reals>(block[j], by, at)
                                                                     : rescaled<V, Rescale::any>(block[j], by, at);
            }
        }
        const auto bytes = Block::packed(made, bounds);
        UNROLLED
        for (int q = 0; q < at_once; ++q) {
            if (start + q < P && start + q < count)
                V::template store<whole>(out + static_cast<std::size_t>(start + q) * out_stride, bytes, q * whole, channels);
        }
    }
}

/// A row of a block of channels: a filter of W columns and no more than 4 * G rows, P pixels at a time.
template <class V, int Channels, int W, int S, int G, int P>
void columns_row(const ByteWeights& by, const DepthwiseRow& row, int channel, const typename V::Cell* weights,
                 std::int8_t* out) {
    using Block = typename V::template Block<Channels>;
    constexpr int all = (P - 1) * S + W, kept = W > S ? W - S : 0;
    const RowGroups rows(row, channel);
    const auto stride = static_cast<std::size_t>(row.channels), first = static_cast<std::size_t>(channel);
    const int channels = by.outputs - channel < Channels ? by.outputs - channel : Channels;
    Column<Block> columns[all][G];
    UNROLLED
    for (int i = 0; i < kept; ++i) {
        UNROLLED
        for (int g = 0; g < G; ++g) columns[i][g] = rows.column<Block>(g, i - row.left);
    }
    for (int x = 0; x < row.out_width; x += P) {
        UNROLLED
        for (int i = kept; i < all; ++i) {
            UNROLLED
            for (int g = 0; g < G; ++g) columns[i][g] = rows.column<Block>(g, x * S + i - row.left);
        }
        typename Block::Vector sums[P][4];
        UNROLLED
        for (int j = 0; j < 4; ++j) {
            UNROLLED
            for (int i = 0; i < P; ++i) sums[i][j] = Block::load(by.bias + channel + Block::sums_at(j));
            UNROLLED
            for (int tap = 0; tap < W * G; ++tap) {
                const auto weight = Block::load(weights + (tap * 4 + j) * Channels);
                UNROLLED
                for (int i = 0; i < P; ++i)
                    sums[i][j] = Block::dot(sums[i][j], columns[i * S + tap % W][tap / W].of[j], weight);
            }
        }
        store_block<V, Channels, P>(sums, by, first, out + static_cast<std::size_t>(x) * stride + first, stride,
                                    row.out_width - x, channels);
        UNROLLED
        for (int i = 0; i < kept; ++i) {
            UNROLLED
            for (int g = 0; g < G; ++g) columns[i][g] = columns[P * S + i][g];
        }
    }
}

/// The same for a filter of any kind, one pixel at a time.
template <class V, int Channels>
void any_columns_row(const ByteWeights& by, const DepthwiseRow& row, int channel, const typename V::Cell* weights,
                     std::int8_t* out) {
    using Block = typename V::template Block<Channels>;
    const auto stride = static_cast<std::size_t>(row.channels), first = static_cast<std::size_t>(channel);
    const int channels = by.outputs - channel < Channels ? by.outputs - channel : Channels;
    for (int x = 0; x < row.out_width; ++x) {
        typename Block::Vector sums[1][4];
        for (int j = 0; j < 4; ++j) sums[0][j] = Block::load(by.bias + channel + Block::sums_at(j));
        const typename V::Cell* weight = weights;
        for (int start = 0; start < row.kernel_height; start += 4) {
            DepthwiseRow group = row;
            group.rows += start, group.kernel_height -= start;
            const RowGroups rows(group, channel);
            for (int kx = 0; kx < row.kernel_width; ++kx) {
                const auto column = rows.column<Block>(0, x * row.stride - row.left + kx * row.dilation);
                for (int j = 0; j < 4; ++j, weight += Channels)
                    sums[0][j] = Block::dot(sums[0][j], column.of[j], Block::load(weight));
            }
        }
        store_block<V, Channels, 1>(sums, by, first, out + static_cast<std::size_t>(x) * stride + first, stride, 1, channels);
    }
}

template <class V>
struct ByColumns {
    static constexpr int block = 64;

    static int parts(int channels) { return (channels + block - 1) / block; }
    /// Channels of the block that a part is computed as.
    static int block_of(int part, int channels) {
        const int left = channels - part * block;
        return left <= 16 ? 16 : left <= 32 ? 32 : 64;
    }
    static int place(int channel, int channels) {
        const int c = channel % block, vector = c % 16 / 4, size = block_of(channel / block, channels);
        const int at = size == 64   ? V::template Block<64>::sums_at(vector)
                       : size == 32 ? V::template Block<32>::sums_at(vector)
                                    : V::template Block<16>::sums_at(vector);
        return channel / block * block + at + c / 16 * 4 + c % 4;
    }
    static std::size_t part_bytes(int height, int width) {
        return static_cast<std::size_t>((height + 3) / 4 * width * 4) * block;
    }
    static std::size_t bytes(int channels, int height, int width) {
        return static_cast<std::size_t>(parts(channels)) * part_bytes(height, width);
    }
    static void pack(const std::int8_t* weights, int channels, int height, int width, void* to) {
        for (int channel = 0; channel < channels; ++channel) {
            const int part = channel / block, size = block_of(part, channels), c = channel % block;
            auto* cells = static_cast<typename V::Cell*>(to) + static_cast<std::size_t>(part) * part_bytes(height, width);
            for (int ky = 0; ky < height; ++ky) {
                for (int kx = 0; kx < width; ++kx) {
                    const int vector = (ky / 4 * width + kx) * 4 + c % 16 / 4;
                    cells[vector * size + (c / 16 * 4 + c % 4) * 4 + ky % 4] = static_cast<typename V::Cell>(*weights++);
                }
            }
        }
    }

    static void compute(const ByteWeights& by, const DepthwiseRow& row, std::int8_t* out) {
        for (int part = row.panels.from; part < row.panels.to; ++part) {
            const int size = block_of(part, by.outputs);
            if (size == 64)
                compute_part<64>(by, row, part, out);
            else if (size == 32)
                compute_part<32>(by, row, part, out);
            else
                compute_part<16>(by, row, part, out);
        }
    }

private:
    template <int Channels>
    static void compute_part(const ByteWeights& by, const DepthwiseRow& row, int part, std::int8_t* out) {
        const int channel = part * block;
        const auto* weights = static_cast<const typename V::Cell*>(by.panels) +
                              static_cast<std::size_t>(part) * part_bytes(row.kernel_height, row.kernel_width);
        const bool is_dense = row.dilation == 1;
        const int kind = row.kernel_width * 100 + row.stride * 10 + (row.kernel_height + 3) / 4;
        if (is_dense && kind == 311) return columns_row<V, Channels, 3, 1, 1, 2>(by, row, channel, weights, out);
        if (is_dense && kind == 321) return columns_row<V, Channels, 3, 2, 1, 2>(by, row, channel, weights, out);
        if (is_dense && kind == 512) return columns_row<V, Channels, 5, 1, 2, 4>(by, row, channel, weights, out);
        if (is_dense && kind == 522) return columns_row<V, Channels, 5, 2, 2, 2>(by, row, channel, weights, out);
        any_columns_row<V, Channels>(by, row, channel, weights, out);
    }
};

template <class V>
struct DepthwiseBy {
    using Way = ByPairs<V>;
};
template <class V>
    requires requires { typename V::template Block<16>; }
struct DepthwiseBy<V> {
    using Way = ByColumns<V>;
};
template <class V>
using DepthwiseBytes = typename DepthwiseBy<V>::Way;

}  // namespace mobilenets
