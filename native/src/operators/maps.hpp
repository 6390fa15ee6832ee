// Operators that move over maps: bilinear resizing, joining, and the class of each pixel.
#pragma once

#include "rows.hpp"

namespace mobilenets {

// ---- bilinear resizing

/// What of two old places makes each new one, along one side.
template <typename Weight>
struct Blends {
    const std::int32_t* places = nullptr;  // of each new place: the old one before it, and the one behind it
    const Weight* weights = nullptr;       // of both

    constexpr Span needed(Span made) const {
        if (made.size() == 0) return {0, 0};
        return {places[2 * index(made.from)], places[2 * index(made.to) - 1] + 1};
    }
};

inline constexpr int resize_bits = 10;  // of the weights of integers

inline std::int8_t blended(std::int32_t total) {
    constexpr std::int32_t half = std::int32_t{1} << (2 * resize_bits - 1);
    const std::int32_t size = ((total < 0 ? -total : total) + half) >> (2 * resize_bits);
    return to_byte(total < 0 ? -size : size);
}
inline float blended(float total) { return total; }

/// `Weight` also adds up: floats for floats, 32-bit integers for bytes.
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
                if (above == below && left == right) {  // as in a map of one place
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

// ---- joining

/// Maps joined along their channels.
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

/// Tables joined one below the other.
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

/// The channel with the largest number; of equal ones the first.
template <typename Number>
struct ArgMax {
    int width = 1, channels = 1;  // of what is read

    template <class Kernels>
    void compute(const Kernels&, const Job& job) const {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            const Number* in = job.inputs[0].template numbers<Number>(y);
            auto* out = job.outputs[0].template numbers<std::uint8_t>(y);
            for (int x = 0; x < width; ++x, in += channels) {
                int best = 0;
                for (int c = 1; c < channels; ++c) best = in[best] < in[c] ? c : best;
                out[x] = static_cast<std::uint8_t>(best);
            }
        }
    }
};

}  // namespace mobilenets
