// Rows of an int8 depthwise convolution for instruction sets that multiply and add four bytes at once. The rows under a filter
// are interleaved, so that these four bytes are one column of the filter; a column is used for all windows that contain it.
#pragma once

#include "row_groups.hpp"

namespace mobilenets {

/// The parameters of some channels of a row: weights for the sums, and how these are rescaled to bytes.
template <class V, int Channels>
struct Part {
    using Block = typename V::template Block<Channels>;
    using Cell = typename V::Cell;

    const ByteWeights& by;
    const Cell* weights;  // [rows at once][groups][columns][4] vectors
    int first;            // channel
    int channels;         // number of stored channels
    typename V::Bounds bounds = V::bounds(by.zero_point, by.low, by.high);
    bool clips = by.clips(), makes_cells = by.makes_cells;

    typename Block::Vector bias(int vector) const { return Block::load(by.bias + first + Block::sums_at(vector)); }

    template <Rescale How>
    typename V::Ints rescale(typename V::Ints sums, int vector) const {
        return rescaled<V, How>(sums, by, static_cast<std::size_t>(first + vector * V::width));
    }

    template <Rescale How>
    auto packed(const typename V::Ints (&made)[V::packed_panels]) const {
        return finished(Block::template packed<packing_of<V, How>()>(made, bounds));
    }

    /// Stores the bytes.
    template <typename Bytes>
    Bytes finished(Bytes bytes) const {
        if (clips) bytes = V::clipped(bytes, bounds);
        if constexpr (V::offset != 0) {
            if (makes_cells) bytes = V::raised(bytes);
        }
        return bytes;
    }
};

/// Rescales the sums of P pixels to bytes and stores `count` pixels.
template <class V, int Channels, int P, Rescale How>
inline void store_block(const Part<V, Channels>& part, const typename V::template Block<Channels>::Vector (&sums)[P][4],
                        std::int8_t* out, std::size_t out_stride, int count) {
    constexpr int whole = Channels / V::width, at_once = V::packed_panels / whole;
    UNROLLED
    for (int start = 0; start < P; start += at_once) {
        typename V::Ints made[V::packed_panels];
        UNROLLED
        for (int q = 0; q < at_once; ++q) {
            typename V::Ints block[whole];
            V::template Block<Channels>::widen(sums[start + q < P ? start + q : P - 1], block);
            UNROLLED
            for (int j = 0; j < whole; ++j) made[q * whole + j] = part.template rescale<How>(block[j], j);
        }
        const auto bytes = part.template packed<How>(made);
        UNROLLED
        for (int q = 0; q < at_once; ++q) {
            if (start + q < P && start + q < count)
                V::template store<whole>(out + static_cast<std::size_t>(start + q) * out_stride, bytes, q * whole,
                                         part.channels);
        }
    }
}

/// The geometry of a filter: its columns, its stride, and how many groups of four rows hold all rows needed for R output rows.
/// If the channels are half a block, two neighboring pixels may be treated as one pixel with twice the channels.
template <int Columns, int Stride, int Groups, int Rows, int Together = 1>
struct Filter {
    static constexpr int columns = Columns, stride = Stride, groups = Groups, rows = Rows, taps = Columns * Groups;
    static constexpr int together = Together, seen_rows = Columns + Rows - 1;  // filters are square

    /// Number of columns in the windows of neighboring pixels.
    static constexpr int seen(int pixels) { return (pixels - 1) * stride + columns; }
};

/// The sums of one vector of the block, for all rows and P pixels.
template <class V, int Channels, class F, int P, class Seen>
inline void add_up(const Part<V, Channels>& part, const Seen& columns, int vector,
                   typename V::template Block<Channels>::Vector (&sums)[F::rows][P]) {
    using Block = typename V::template Block<Channels>;
    const auto bias = part.bias(vector);
    UNROLLED
    for (int i = 0; i < F::rows * P; ++i) sums[i / P][i % P] = bias;
    UNROLLED
    for (int group = 0; group < F::groups; ++group) {
        constexpr int seen = F::seen(P);
        typename Block::Vector of[seen];
        UNROLLED
        for (int i = 0; i < seen; ++i) of[i] = columns[i][group].of[vector];
        UNROLLED
        for (int i = 0; i < F::columns * F::rows; ++i) {
            const int column = i / F::rows, row = i % F::rows, tap = group * F::columns + column;
            const auto weight = Block::load(part.weights + ((row * F::taps + tap) * 4 + vector) * Channels);
            UNROLLED
            for (int p = 0; p < P; ++p) sums[row][p] = Block::dot(sums[row][p], of[p * F::stride + column], weight);
        }
    }
}

/// Computes P pixels of some rows as bytes and stores `count` of them.
template <class V, int Channels, class F, int P, Rescale How, class Seen>
inline void make_pixels(const Part<V, Channels>& part, const Seen& columns, std::int8_t* const (&outs)[F::rows],
                        std::size_t stride, int count) {
    using Block = typename V::template Block<Channels>;
    typename Block::Vector sums[F::rows][P];
    if constexpr (Channels / V::width == V::packed_panels) {  // two vectors are packed at once: saves registers
        typename V::Ints halves[2][F::rows][P], made[F::rows][P];
        UNROLLED
        for (int vector = 0; vector < 4; ++vector) {
            add_up<V, Channels, F, P>(part, columns, vector, sums);
            UNROLLED
            for (int i = 0; i < F::rows * P; ++i) {
                const auto numbers = part.template rescale<How>(sums[i / P][i % P], vector);
                auto& first = made[i / P][i % P];
                if (vector % 2 == 0)
                    first = numbers;
                else
                    halves[vector / 2][i / P][i % P] = V::template pair<packing_of<V, How>()>(first, numbers, part.bounds);
            }
        }
        UNROLLED
        for (int i = 0; i < F::rows * P; ++i) {
            made[i / P][i % P] = part.finished(V::joined(halves[0][i / P][i % P], halves[1][i / P][i % P]));
        }
        UNROLLED
        for (int i = 0; i < F::rows * P; ++i) {
            if (i % P < count)
                V::template store<V::packed_panels>(outs[i / P] + index(i % P) * stride, made[i / P][i % P], 0, part.channels);
        }
    } else {
        typename Block::Vector all[F::rows][P][4];
        UNROLLED
        for (int vector = 0; vector < 4; ++vector) {
            add_up<V, Channels, F, P>(part, columns, vector, sums);
            UNROLLED
            for (int i = 0; i < F::rows * P; ++i) all[i / P][i % P][vector] = sums[i / P][i % P];
        }
        UNROLLED
        for (int r = 0; r < F::rows; ++r) store_block<V, Channels, P, How>(part, all[r], outs[r], stride, count);
    }
}

/// Some rows of a part, P pixels at a time. Columns that the next pixels need too stay in registers.
template <class V, int Channels, class F, int P, Rescale How>
void columns_rows(const Part<V, Channels>& shared, const DepthwiseRow& row, Span pixels, std::int8_t* const* outs) {
    using Block = typename V::template Block<Channels>;
    constexpr int all = F::seen(P), kept = F::columns - F::stride;
    const Part<V, Channels> part = shared;
    const RowGroups<F::groups, F::seen_rows> rows(row, part.first);
    const auto stride = static_cast<std::size_t>(row.channels * F::together);
    const int left = row.left, width = row.width;
    const auto column = [&]<bool Inside>(int group, int x) {
        if constexpr (F::together == 2)
            return rows.template two_columns<Block, Inside>(group, x);
        else
            return rows.template column<Block, Inside>(group, x);
    };
    std::int8_t* out[F::rows];
    for (int r = 0; r < F::rows; ++r) out[r] = outs[r] + part.first + index(pixels.from) * stride;
    Column<Block> columns[all][F::groups];
    UNROLLED
    for (int i = 0; i < kept * F::groups; ++i)
        columns[i / F::groups][i % F::groups] =
            column.template operator()<false>(i % F::groups, pixels.from * F::stride + i / F::groups - left);
    const auto step = [&]<bool Inside>(int x) {
        UNROLLED
        for (int i = kept * F::groups; i < all * F::groups; ++i)
            columns[i / F::groups][i % F::groups] =
                column.template operator()<Inside>(i % F::groups, x * F::stride + i / F::groups - left);
        make_pixels<V, Channels, F, P, How>(part, columns, out, stride, pixels.to - x);
        UNROLLED
        for (int i = 0; i < kept * F::groups; ++i)
            columns[i / F::groups][i % F::groups] = columns[P * F::stride + i / F::groups][i % F::groups];
        UNROLLED
        for (int r = 0; r < F::rows; ++r) out[r] += P * stride;
    };
    for (int x = pixels.from; x < pixels.to; x += P) {
        const int first = x * F::stride + kept - left, last = x * F::stride + all - 1 - left + F::together - 1;
        if (first >= 0 && last < width)
            step.template operator()<true>(x);
        else
            step.template operator()<false>(x);
    }
}

/// The same for 32 channels and a stride of 1, with two pixels as one of 64 channels, so that vectors are full. The parameters
/// of the 64 channels are those of the 32, repeated.
template <class V, int Rows, Rescale How>
void two_pixels_rows(const Part<V, 32>& half, const DepthwiseRow& row, Span pixels, std::int8_t* const* outs) {
    using Block = typename V::template Block<64>;
    using Half = typename V::template Block<32>;
    using F = Filter<3, 2, 1, Rows, 2>;
    constexpr int vectors_of_weights = Rows * F::taps * 4;
    alignas(64) typename V::Cell weights[vectors_of_weights * 64];
    alignas(64) std::int32_t bias[64];
    alignas(64) float factors[64], added[64];
    for (int i = 0; i < vectors_of_weights; ++i) Block::twice(weights + i * 64, half.weights + i * 32);
    for (int i = 0; i < 4; ++i) {
        const int from = Half::sums_at(i), to = Block::sums_at(i);
        Block::twice(bias + to, half.by.bias + from);
        Block::twice(factors + to, half.by.factors + from);
        Block::twice(added + to, half.by.half + from);
    }
    ByteWeights by = half.by;
    by.bias = bias, by.factors = factors, by.half = added;
    const Span pairs{pixels.from / 2, pixels.to / 2};
    columns_rows<V, 64, F, 2, How>({by, weights, 0, 64}, row, pairs, outs);
    if (pixels.to % 2 != 0) columns_rows<V, 64, F, 2, How>({by, weights, 0, 32}, row, {pairs.to, pairs.to + 1}, outs);
}

/// The same for more columns than fit registers: the columns of some pixels are interleaved in memory first.
template <class V, int Channels, class F, int P, Rescale How>
void held_columns_rows(const Part<V, Channels>& shared, const DepthwiseRow& row, Span pixels, std::int8_t* const* outs) {
    using Block = typename V::template Block<Channels>;
    constexpr int chunk = 4 * P;
    const Part<V, Channels> part = shared;
    const RowGroups<F::groups, F::seen_rows> rows(row, part.first);
    const auto stride = static_cast<std::size_t>(row.channels);
    Column<Block> columns[F::seen(chunk)][F::groups];
    for (int start = pixels.from; start < pixels.to; start += chunk) {
        const int count = pixels.to - start < chunk ? pixels.to - start : chunk, tiles = (count + P - 1) / P;
        for (int i = 0; i < F::seen(tiles * P); ++i) {
            UNROLLED
            for (int group = 0; group < F::groups; ++group)
                columns[i][group] = rows.template column<Block, false>(group, start * F::stride + i - row.left);
        }
        for (int x = 0; x < count; x += P) {
            std::int8_t* out[F::rows];
            for (int r = 0; r < F::rows; ++r) out[r] = outs[r] + part.first + index(start + x) * stride;
            make_pixels<V, Channels, F, P, How>(part, columns + x * F::stride, out, stride, count - x);
        }
    }
}

/// One row for a filter of any kind, one pixel at a time.
template <class V, int Channels, Rescale How>
void any_columns_row(const Part<V, Channels>& part, const DepthwiseRow& row, Span pixels, std::int8_t* out) {
    using Block = typename V::template Block<Channels>;
    const auto stride = static_cast<std::size_t>(row.channels);
    for (int x = pixels.from; x < pixels.to; ++x) {
        typename Block::Vector sums[1][4];
        for (int j = 0; j < 4; ++j) sums[0][j] = part.bias(j);
        const typename V::Cell* weight = part.weights;
        for (int start = 0; start < row.kernel_height; start += 4) {
            DepthwiseRow group = row;
            group.rows += start, group.kernel_height -= start;
            const RowGroups<1> rows(group, part.first);
            for (int kx = 0; kx < row.kernel_width; ++kx) {
                const auto column = rows.column<Block, false>(0, x * row.stride - row.left + kx * row.dilation);
                for (int j = 0; j < 4; ++j, weight += Channels)
                    sums[0][j] = Block::dot(sums[0][j], column.of[j], Block::load(weight));
            }
        }
        store_block<V, Channels, 1, How>(part, sums, out + static_cast<std::size_t>(x) * stride + part.first, stride, 1);
    }
}

template <class V>
struct ByColumns {
    static constexpr int block = 64, offset = V::offset;
    static constexpr int held_pixels = 7;  // in a tile whose columns are interleaved first

    static int parts(int channels) { return (channels + block - 1) / block; }
    /// Number of channels in the block that computes a part.
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
    /// Two neighboring rows are computed together if all their input rows still fit the groups of one.
    static int rows_at_once(const DepthwiseRow& row) {
        return tile_of(row) > 0 && row.stride == 1 ? 2 : 1;
    }
    static std::size_t part_bytes(int height, int width) {
        return static_cast<std::size_t>(2 * ((height + 3) / 4) * width * 4) * block;
    }
    static std::size_t bytes(int channels, int height, int width) {
        return static_cast<std::size_t>(parts(channels)) * part_bytes(height, width);
    }
    /// Packs the weights of a part, followed by the same weights shifted down by a row.
    static void pack(const std::int8_t* weights, int channels, int height, int width, void* to) {
        const int groups = (height + 3) / 4;
        for (int channel = 0; channel < channels; ++channel) {
            const int part = channel / block, size = block_of(part, channels), c = channel % block;
            auto* cells = static_cast<typename V::Cell*>(to) + static_cast<std::size_t>(part) * part_bytes(height, width);
            for (int ky = 0; ky < height; ++ky) {
                for (int kx = 0; kx < width; ++kx, ++weights) {
                    for (int lower = 0; lower < 2 && (ky + lower) / 4 < groups; ++lower) {
                        const int vector = ((lower * groups + (ky + lower) / 4) * width + kx) * 4 + c % 16 / 4;
                        cells[vector * size + (c / 16 * 4 + c % 4) * 4 + (ky + lower) % 4] =
                            static_cast<typename V::Cell>(*weights);
                    }
                }
            }
        }
    }

    /// How many pixels of one part fit the L1 cache at their stride: some strides use only a few of its sets.
    static int pixels_at_once(const DepthwiseRow& row) {
        constexpr int line = 64, sets = 64;
        if (row.channels % line != 0) return row.out_width;
        int places = sets;
        for (int lines = row.channels / line; lines % 2 == 0 && places > 4; lines /= 2) places /= 2;
        if (row.kernel_height <= 3) return places;
        return places / 2 > held_pixels ? places / 2 / held_pixels * held_pixels : held_pixels;
    }

    static void compute(const ByteWeights& by, const DepthwiseRow& row, std::int8_t* const* outs) {
        const int at_once = pixels_at_once(row);
        for (int x = 0; x < row.out_width; x += at_once) {
            const Span pixels{x, x + at_once < row.out_width ? x + at_once : row.out_width};
            for (int part = row.panels.from; part < row.panels.to; ++part) {
                const int size = block_of(part, by.outputs);
                if (size == 64)
                    compute_part<64>(by, row, part, pixels, outs);
                else if (size == 32)
                    compute_part<32>(by, row, part, pixels, outs);
                else
                    compute_part<16>(by, row, part, pixels, outs);
            }
        }
    }

private:
    static constexpr int least_in_twos = 24;  // pixels of a row; for fewer, repeating the weights does not pay off

    /// The tile for a filter as decimal digits: its side, its stride and the rows computed at once; 0 if there is none.
    static int tile_of(const DepthwiseRow& row) {
        const int side = row.kernel_width;
        if ((side != 3 && side != 5) || row.kernel_height != side || row.stride > 2 || row.dilation != 1) return 0;
        return side * 100 + row.stride * 10 + row.out_rows;
    }

    template <int Channels>
    static void compute_part(const ByteWeights& by, const DepthwiseRow& row, int number, Span pixels,
                             std::int8_t* const* outs) {
        const auto* weights = static_cast<const typename V::Cell*>(by.panels) +
                              static_cast<std::size_t>(number) * part_bytes(row.kernel_height, row.kernel_width);
        const int first = number * block, channels = by.outputs - first < Channels ? by.outputs - first : Channels;
        const Part<V, Channels> part{by, weights, first, channels};
        with_rescale<V>(rescale_of(by, first / panel, panels_of(channels)), [&]<Rescale How>() {
            if constexpr (How == Rescale::any) {
                for (int r = 0; r < row.out_rows; ++r) {
                    DepthwiseRow one = row;
                    one.rows += r, one.out_rows = 1;
                    any_columns_row<V, Channels, How>(part, one, pixels, outs[r]);
                }
            } else {
                compute_rows<Channels, How>(part, row, pixels, outs);
            }
        });
    }

    template <int Channels, Rescale How>
    static void compute_rows(const Part<V, Channels>& part, const DepthwiseRow& row, Span pixels, std::int8_t* const* outs) {
        const int tile = tile_of(row);
        if constexpr (Channels == 32) {
            if (row.channels == 32 && pixels.size() >= least_in_twos) {  // a whole row, which starts at an even pixel
                if (tile == 311) return two_pixels_rows<V, 1, How>(part, row, pixels, outs);
                if (tile == 312) return two_pixels_rows<V, 2, How>(part, row, pixels, outs);
            }
        }
        switch (tile) {
            case 311: return columns_rows<V, Channels, Filter<3, 1, 1, 1>, 2, How>(part, row, pixels, outs);
            case 312: return columns_rows<V, Channels, Filter<3, 1, 1, 2>, 2, How>(part, row, pixels, outs);
            case 321: return columns_rows<V, Channels, Filter<3, 2, 1, 1>, 2, How>(part, row, pixels, outs);
            case 511: return held_columns_rows<V, Channels, Filter<5, 1, 2, 1>, held_pixels, How>(part, row, pixels, outs);
            case 512: return held_columns_rows<V, Channels, Filter<5, 1, 2, 2>, held_pixels, How>(part, row, pixels, outs);
            case 521: return held_columns_rows<V, Channels, Filter<5, 2, 2, 1>, held_pixels, How>(part, row, pixels, outs);
            default: return any_columns_row<V, Channels, How>(part, row, pixels, outs[0]);
        }
    }
};

}  // namespace mobilenets
