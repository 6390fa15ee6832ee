// Operators on feature maps: bilinear resizing, concatenation, and the class of each pixel.
#pragma once

#include "rows.hpp"

namespace mobilenets {

// ---- bilinear resizing

/// Interpolation along one axis: the two source positions of each new position, and their weights.
template <typename Weight>
struct Blends {
    const std::int32_t* places = nullptr;  // for each new position: the source positions before and after it
    const Weight* weights = nullptr;       // their weights

    constexpr Span needed(Span made) const {
        if (made.size() == 0) return {0, 0};
        return {places[2 * index(made.from)], places[2 * index(made.to) - 1] + 1};
    }
};

inline constexpr int resize_bits = 10;  // bits of integer weights

inline std::int8_t blended(std::int32_t total) {
    constexpr std::int32_t half = std::int32_t{1} << (2 * resize_bits - 1);
    const std::int32_t size = ((total < 0 ? -total : total) + half) >> (2 * resize_bits);
    return to_byte(total < 0 ? -size : size);
}
inline float blended(float total) { return total; }

/// `Weight` is also the type of the sums: floats for floats, 32-bit integers for bytes.
template <typename Number, typename Weight>
struct Resize {
    Blends<Weight> down, across;
    int width = 1, channels = 1;  // of what is made

    constexpr Span needed(Span rows) const { return down.needed(rows); }

    template <class Kernels>
    void compute(const Kernels&, const Job& job) const {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            const std::int32_t* tall = down.places + 2 * index(y);
            const Weight* of_rows = down.weights + 2 * index(y);
            const Number* above = job.inputs[0].template numbers<Number>(tall[0]);
            const Number* below = job.inputs[0].template numbers<Number>(tall[1]);
            Number* out = job.outputs[0].template numbers<Number>(y);
            for (int x = 0; x < width; ++x) {
                const std::int32_t* wide = across.places + 2 * index(x);
                const Weight* of_places = across.weights + 2 * index(x);
                const std::size_t left = index(wide[0]) * index(channels), right = index(wide[1]) * index(channels);
                if (above == below && left == right) {  // as in a 1 x 1 map
                    __builtin_memcpy(out, above + left, index(channels) * sizeof(Number));
                    out += channels;
                    continue;
                }
                for (std::size_t c = 0; c < index(channels); ++c) {
                    const Weight first = of_places[0] * above[left + c] + of_places[1] * above[right + c];
                    const Weight second = of_places[0] * below[left + c] + of_places[1] * below[right + c];
                    *out++ = blended(of_rows[0] * first + of_rows[1] * second);
                }
            }
        }
    }
};

using FloatResize = Resize<float, float>;
using ByteResize = Resize<std::int8_t, std::int32_t>;

// ---- concatenation

/// Feature maps concatenated along their channels.
struct ConcatMaps {
    int width = 1;
    int inputs = 0;
    const std::int32_t* place_bytes = nullptr;  // of each input

    template <class Kernels>
    void compute(const Kernels&, const Job& job) const {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            std::byte* out = job.outputs[0].at(y);
            for (int x = 0; x < width; ++x) {
                for (int i = 0; i < inputs; ++i) {
                    const std::size_t bytes = index(place_bytes[i]);
                    __builtin_memcpy(out, job.inputs[i].at(y) + index(x) * bytes, bytes);
                    out += bytes;
                }
            }
        }
    }
};

/// Tables concatenated along their rows.
struct ConcatTables {
    const std::int32_t* heights = nullptr;  // of each input
    std::size_t row_bytes = 0;

    template <class Kernels>
    void compute(const Kernels&, const Job& job) const {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            int input = 0, row = y;
            while (row >= heights[input]) row -= heights[input++];
            __builtin_memcpy(job.outputs[0].at(y), job.inputs[input].at(row), row_bytes);
        }
    }
};

// ---- the class of each pixel

/// The index of the largest of `count` numbers; of equal ones, the first.
template <typename Of>
std::uint8_t largest(int count, const Of& number) {
    int best = 0;
    auto most = number(0);
    for (int i = 1; i < count; ++i) {
        const auto other = number(i);
        best = most < other ? i : best;
        most = most < other ? other : most;
    }
    return static_cast<std::uint8_t>(best);
}

/// The class of each pixel.
template <typename Number>
struct ArgMax {
    int width = 1, channels = 1;  // of what is read

    template <class Kernels>
    void compute(const Kernels&, const Job& job) const {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            const Number* in = job.inputs[0].template numbers<Number>(y);
            auto* out = job.outputs[0].template numbers<std::uint8_t>(y);
            for (int x = 0; x < width; ++x, in += channels) out[x] = largest(channels, [in](int c) { return in[c]; });
        }
    }
};

/// The class of each pixel of a resized float map, computed from the small map. If the four source pixels around a pixel agree
/// on the class, so does every weighted mean of them. Only where they disagree are numbers interpolated, as in `Resize`, and
/// only for the classes that may be the largest somewhere.
struct LargestOfLarge {
    Blends<float> down, across;
    int read_width = 1, width = 1, channels = 1;

    constexpr std::size_t scratch_bytes() const { return (2 * sizeof(float) + 1) * index(channels) + 2 * index(read_width); }

    template <class Kernels>
    void compute(const Kernels&, const Job& job) const {
        auto* numbers = reinterpret_cast<float*>(job.scratch);
        auto* classes = reinterpret_cast<std::uint8_t*>(numbers + 2 * channels);
        std::uint8_t *above = classes + channels, *below = above + read_width;  // the classes of a row's pixels
        int row_above = -1, row_below = -1;
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            const std::int32_t* tall = down.places + 2 * index(y);
            if (tall[0] != row_above && tall[0] == row_below) {
                std::uint8_t* free = above;
                above = below, below = free;
                row_above = row_below, row_below = -1;
            }
            if (tall[0] != row_above) prefer(job.inputs[0], row_above = tall[0], above);
            if (tall[1] != row_below) prefer(job.inputs[0], row_below = tall[1], below);
            auto* out = job.outputs[0].numbers<std::uint8_t>(y);
            for (int x = 0, to = 0; x < width; x = to) {
                const std::int32_t left = across.places[2 * index(x)], right = across.places[2 * index(x) + 1];
                for (to = x + 1; to < width && across.places[2 * index(to)] == left; ++to) {
                }
                const std::uint8_t best = above[left];
                if (above[right] == best && below[left] == best && below[right] == best) {
                    for (int i = x; i < to; ++i) out[i] = best;
                } else {
                    const auto* upper = job.inputs[0].numbers<float>(tall[0]);
                    const auto* lower = job.inputs[0].numbers<float>(tall[1]);
                    const std::size_t first = index(left) * index(channels), second = index(right) * index(channels);
                    const Cell cell{
                        {upper + first, upper + second}, {lower + first, lower + second}, down.weights + 2 * index(y)};
                    fill(cell, {x, to}, numbers, classes, out);
                }
            }
        }
    }

private:
    /// The numbers of the four source pixels, left and right, and the weights of the upper and lower ones.
    struct Cell {
        const float *above[2], *below[2], *of_rows;

        float at(int channel, const float* of_places) const {
            const float first = of_places[0] * above[0][channel] + of_places[1] * above[1][channel];
            const float second = of_places[0] * below[0][channel] + of_places[1] * below[1][channel];
            return of_rows[0] * first + of_rows[1] * second;
        }
    };

    /// Computes the pixels of one row between four source pixels. A class can be the largest there only if it is the largest at
    /// one end, or if at each end it is at least as large as the class that is the largest at the other end.
    void fill(const Cell& cell, Span pixels, float* numbers, std::uint8_t* classes, std::uint8_t* out) const {
        float *left = numbers, *right = numbers + channels;
        for (int c = 0; c < channels; ++c) {
            left[c] = cell.of_rows[0] * cell.above[0][c] + cell.of_rows[1] * cell.below[0][c];
            right[c] = cell.of_rows[0] * cell.above[1][c] + cell.of_rows[1] * cell.below[1][c];
        }
        const int at_left = largest(channels, [=](int c) { return left[c]; });
        const int at_right = largest(channels, [=](int c) { return right[c]; });
        int count = 0;
        for (int c = 0; c < channels; ++c) {
            classes[count] = static_cast<std::uint8_t>(c);
            count += c == at_left || c == at_right || (left[c] >= left[at_right] && right[c] >= right[at_left]) ? 1 : 0;
        }
        for (int x = pixels.from; x < pixels.to; ++x) {
            const float* of_places = across.weights + 2 * index(x);
            out[x] = classes[largest(count, [&](int i) { return cell.at(classes[i], of_places); })];
        }
    }

    /// Computes the class of every pixel of a row.
    void prefer(const Rows& small, int row, std::uint8_t* to) const {
        const auto* in = small.numbers<float>(row);
        for (int x = 0; x < read_width; ++x, in += channels) to[x] = largest(channels, [in](int c) { return in[c]; });
    }
};

}  // namespace mobilenets
