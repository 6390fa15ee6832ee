// The rows under a depthwise filter, interleaved column by column: four bytes, one of each row, are multiplied and added at
// once.
#pragma once

#include "depthwise.hpp"

namespace mobilenets {

/// The four vectors of a column, of one group of four rows.
template <class Block>
struct Column {
    typename Block::Vector of[4];
};

template <class Block>
ALWAYS_INLINE Column<Block> interleaved(typename Block::Vector a, typename Block::Vector b, typename Block::Vector c,
                                        typename Block::Vector d) {
    const auto low = Block::low_bytes(a, b), low_next = Block::low_bytes(c, d);
    const auto high = Block::high_bytes(a, b), high_next = Block::high_bytes(c, d);
    return {{Block::low_pairs(low, low_next), Block::high_pairs(low, low_next), Block::low_pairs(high, high_next),
             Block::high_pairs(high, high_next)}};
}

/// The same for the first `count` rows; the last of them is repeated.
template <class Block>
ALWAYS_INLINE Column<Block> interleaved(const std::int8_t* const (&rows)[4], std::size_t at, int count) {
    const auto a = Block::raised(rows[0] + at), b = count > 1 ? Block::raised(rows[1] + at) : a;
    const auto c = count > 2 ? Block::raised(rows[2] + at) : b;
    return interleaved<Block>(a, b, c, count > 3 ? Block::raised(rows[3] + at) : c);
}

/// The rows under a filter, at most `Most`, in groups of four; the last row is repeated to fill a group.
template <int Groups, int Most = 4 * Groups>
class RowGroups {
public:
    RowGroups(const DepthwiseRow& row, int channel) : width_(row.width), channels_(index(row.channels)) {
        const int seen = row.kernel_height + row.out_rows - 1;
        UNROLLED
        for (int i = 0; i < 4 * Groups; ++i)
            rows_[i / 4][i % 4] = reinterpret_cast<const std::int8_t*>(row.rows[i < seen ? i : seen - 1]) + channel;
        const auto* missing = reinterpret_cast<const std::int8_t*>(row.missing) + channel;
        UNROLLED
        for (int i = 0; i < 4; ++i) beside_[i] = missing;
    }

    /// The column at x, which may be outside of the map unless `Inside`.
    template <class Block, bool Inside>
    ALWAYS_INLINE Column<Block> column(int group, int x) const {
        if constexpr (Inside) return interleaved<Block>(rows_[group], index(x) * channels_, Most - 4 * group);
        const bool is_inside = x >= 0 && x < width_;
        return interleaved<Block>(is_inside ? rows_[group] : beside_, is_inside ? index(x) * channels_ : 0, Most - 4 * group);
    }

    /// The same for a map whose channels are half a block: the columns at x and x + 1 as one.
    template <class Block, bool Inside>
    ALWAYS_INLINE Column<Block> two_columns(int group, int x) const {
        if constexpr (Inside) return interleaved<Block>(rows_[group], index(x) * channels_, Most - 4 * group);
        const auto half = [&](int row, int at) {
            return at >= 0 && at < width_ ? rows_[group][row] + index(at) * channels_ : beside_[row];
        };
        typename Block::Vector rows[4];
        UNROLLED
        for (int i = 0; i < 4; ++i) rows[i] = Block::joined(half(i, x), half(i, x + 1));
        return interleaved<Block>(rows[0], rows[1], rows[2], rows[3]);
    }

private:
    int width_;
    std::size_t channels_;
    const std::int8_t* rows_[Groups][4];
    const std::int8_t* beside_[4];
};

}  // namespace mobilenets
