// Vectors in plain C++: the reference for every other header in this folder, and the fallback if none of them fits.
//
// Instructions of a particular processor occur only in the headers of this folder. Each defines one type with
//   width, depth     32-bit numbers in a vector, and the number of products that one step of a dot product adds up
//   Cell, Tap        the storage types of a factor of such a product, and of a weight of a depthwise convolution
//   Floats, Ints     vectors of 32-bit floats and integers
// and the functions below. If factors with only positive right shifts are faster, it also has `shrink`, whose last argument is
// half of what the shifts cut off; if the processor has a global rounding mode, it has `Rounding`, which sets it. A panel is 16
// channels side by side: 16 / width vectors. `place(channel)` is the position of a channel in these vectors while sums are
// computed, chosen so that packing to bytes needs no shuffle afterwards.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../arithmetic.hpp"

namespace mobilenets::simd {

struct Plain {
    static constexpr const char* name = "plain";
    static constexpr int width = 8, depth = 2;
    static constexpr int offset = 0;                   // added by `to_cells`
    static constexpr int pixels = 6, tile_panels = 1;  // per tile; for half a panel, twice as many pixels
    static constexpr int byte_panels = 1;              // per tile of integers, with fewer pixels than the others
    static constexpr int packed_panels = 1;            // packed to bytes at once
    static constexpr bool has_reals = false;           // whether sums can be rescaled in floats, by `real` and `signed_real`
    static constexpr bool has_float_sums = false;      // whether they can be floats from the start, by `float_sum`,
                                                       // which leaves them as `float_sums` says
    static constexpr bool has_shrink = false;          // whether `shrink` is faster than `scale`
    using Cell = std::int16_t;
    using Tap = std::int16_t;
    struct Floats {
        float of[width];
    };
    struct Ints {
        std::int32_t of[width];
    };

    static constexpr int place(int channel) { return channel; }

    // ---- floats
    static Floats load(const float* from) {
        Floats made;
        __builtin_memcpy(made.of, from, sizeof made.of);
        return made;
    }
    static void store(float* to, Floats x) { __builtin_memcpy(to, x.of, sizeof x.of); }
    static void store(float* to, Floats x, int count) {
        __builtin_memcpy(to, x.of, sizeof(float) * static_cast<std::size_t>(smaller(count, width)));
    }
    static Floats all(float number) {
        Floats made;
        for (float& x : made.of) x = number;
        return made;
    }
    static Floats add(Floats a, Floats b) {
        for (int i = 0; i < width; ++i) a.of[i] += b.of[i];
        return a;
    }
    static Floats multiply(Floats a, Floats b) {
        for (int i = 0; i < width; ++i) a.of[i] *= b.of[i];
        return a;
    }
    static Floats multiply_add(Floats a, Floats b, Floats sum) {
        for (int i = 0; i < width; ++i) sum.of[i] += a.of[i] * b.of[i];
        return sum;
    }
    static Floats least(Floats a, Floats b) {
        for (int i = 0; i < width; ++i) a.of[i] = smaller(a.of[i], b.of[i]);
        return a;
    }
    static Floats greatest(Floats a, Floats b) {
        for (int i = 0; i < width; ++i) a.of[i] = larger(a.of[i], b.of[i]);
        return a;
    }

    // ---- integers
    static Ints load(const std::int32_t* from) {
        Ints made;
        __builtin_memcpy(made.of, from, sizeof made.of);
        return made;
    }
    static void store(std::int32_t* to, Ints x) { __builtin_memcpy(to, x.of, sizeof x.of); }
    static Ints all(std::int32_t number) {
        Ints made;
        for (std::int32_t& x : made.of) x = number;
        return made;
    }
    static Ints add(Ints a, Ints b) {
        for (int i = 0; i < width; ++i) a.of[i] = wrapped(a.of[i], b.of[i]);
        return a;
    }
    static Ints multiply(Ints a, Ints b) {
        for (int i = 0; i < width; ++i) a.of[i] *= b.of[i];
        return a;
    }

    /// Converts `count` bytes to cells. Up to 16 more bytes may be read, and as many more cells written.
    static void to_cells(Cell* to, const std::int8_t* from, int count) {
        for (int i = 0; i < count; ++i) to[i] = from[i];
    }

    /// sum + a · b, where a is `depth` cells shared by all channels, and b `depth` cells for each of `width` channels.
    struct Factors {
        Cell of[depth];
    };
    static Factors factors(const Cell* a) { return {{a[0], a[1]}}; }
    using Weights = const Cell*;
    static Weights weights(const Cell* b) { return b; }
    static Ints dot(Ints sum, Factors a, Weights b) {
        for (int i = 0; i < width; ++i) sum.of[i] = wrapped(sum.of[i], a.of[0] * b[2 * i] + a.of[1] * b[2 * i + 1]);
        return sum;
    }

    /// The position among `tap_cells` weights of the one for a channel of a panel and one of two taps.
    static constexpr int tap_cells = 32;
    static constexpr int tap_place(int channel, int tap) { return 2 * channel + tap; }
    /// Adds the products of 16 channels of two pixels with their weights to the sums of a panel.
    static void add_taps(Ints (&sums)[2], const std::int8_t* first, const std::int8_t* second, const Tap* weights) {
        for (int i = 0; i < 16; ++i) {
            std::int32_t& sum = sums[i / width].of[i % width];
            sum = wrapped(sum, first[i] * weights[2 * i] + second[i] * weights[2 * i + 1]);
        }
    }

    /// Each number times its factor; the variant with `left` is only for factors with positive shifts.
    static Ints scale(Ints x, Ints mantissas, Ints rights) {
        for (int i = 0; i < width; ++i) x.of[i] = static_cast<std::int32_t>(scaled(x.of[i], {mantissas.of[i], -rights.of[i]}));
        return x;
    }
    static Ints shift_left(Ints x, Ints lefts) {
        for (int i = 0; i < width; ++i) {
            const std::int64_t shifted = x.of[i] * (std::int64_t{1} << lefts.of[i]);
            x.of[i] = static_cast<std::int32_t>(within<std::int64_t>(shifted, INT32_MIN, INT32_MAX));
        }
        return x;
    }

    /// A panel, plus the zero point if it is not included yet, as 16 bytes; and these clipped to the bounds.
    struct Bounds {
        std::int32_t zero_point, low, high;
    };
    static Bounds bounds(int zero_point, int low, int high) { return {zero_point, low, high}; }
    struct Bytes {
        std::int8_t of[16];
    };
    template <Packing How>
    static Bytes packed(const Ints (&panel)[2], Bounds by) {
        Bytes made;
        for (int i = 0; i < 16; ++i)
            made.of[i] = to_byte(std::int64_t{panel[i / width].of[i % width]} +
                                 (How == Packing::without_zero_point ? by.zero_point : 0));
        return made;
    }
    static Bytes clipped(Bytes bytes, Bounds by) {
        for (std::int8_t& byte : bytes.of) byte = to_byte(byte, by.low, by.high);
        return bytes;
    }
    /// Stores some of the panels packed at once, starting at `at`; at most `count` channels.
    template <int Panels>
    static void store(std::int8_t* to, Bytes bytes, int, int count) {
        __builtin_memcpy(to, bytes.of, static_cast<std::size_t>(smaller(count, 16)));
    }
    /// Loads 16 bytes as a panel.
    static void load(Ints (&panel)[2], const std::int8_t* from) {
        for (int i = 0; i < 16; ++i) panel[i / width].of[i % width] = from[i];
    }

    /// 16 floats divided by the scale, rounded to the nearest integers; halves are rounded away from zero.
    static void to_panels(Ints (&panel)[2], const float* from, Floats scale) {
        constexpr float largest = 1073741824.0F;
        for (int i = 0; i < 16; ++i) {
            const float quotient = smaller(larger(-largest, from[i] / scale.of[0]), largest);  // NaN becomes the smallest
            panel[i / width].of[i % width] = static_cast<std::int32_t>(rounded(static_cast<double>(quotient)));
        }
    }

    /// Interleaves `count` bytes of each of three rows.
    static void interleave(const std::int8_t* a, const std::int8_t* b, const std::int8_t* c, std::int8_t* to, int count) {
        for (int i = 0; i < count; ++i) to[3 * i] = a[i], to[3 * i + 1] = b[i], to[3 * i + 2] = c[i];
    }
    /// Maps each byte through a table, which starts with the entry of -128.
    static void look_up(const std::int8_t* table, const std::int8_t* in, std::int8_t* out, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) out[i] = table[in[i] + 128];
    }

protected:
    static std::int32_t wrapped(std::int32_t a, std::int32_t b) {
        return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
    }
};

}  // namespace mobilenets::simd
