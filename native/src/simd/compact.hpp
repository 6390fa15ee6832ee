// Plain C++ with factors as single bytes in groups of four, as for NEON: weights take the least memory and are read in place.
// `plain.hpp` documents each function.
#pragma once

#include "plain.hpp"

namespace mobilenets::simd {

struct Compact : Plain {
    static constexpr const char* name = "compact";
    static constexpr int depth = 4, pixels = 2;
    using Cell = std::int8_t;
    using Tap = std::int8_t;

    static void to_cells(Cell* to, const std::int8_t* from, int count) {
        __builtin_memcpy(to, from, static_cast<std::size_t>(count));
    }

    struct Factors {
        Cell of[depth];
    };
    static Factors factors(const Cell* a) { return {{a[0], a[1], a[2], a[3]}}; }
    using Weights = const Cell*;
    static Weights weights(const Cell* b) { return b; }
    static Ints dot(Ints sum, Factors a, Weights b) {
        _Pragma("GCC unroll 16") for (int i = 0; i < width; ++i) {
            const Cell* of = b + depth * i;
            sum.of[i] = wrapped(sum.of[i], a.of[0] * of[0] + a.of[1] * of[1] + a.of[2] * of[2] + a.of[3] * of[3]);
        }
        return sum;
    }

    /// Rounds like `scaled`, in as few 32-bit steps as possible.
    static Ints scale(Ints x, Ints mantissas, Ints rights) {
        _Pragma("GCC unroll 16") for (int i = 0; i < width; ++i) {
            const std::int64_t product = std::int64_t{x.of[i]} * mantissas.of[i];
            const auto halved = static_cast<std::int32_t>((product + (std::int64_t{1} << 30)) >> 31);
            const auto mask = static_cast<std::int32_t>((std::uint32_t{1} << rights.of[i]) - 1);
            x.of[i] = (halved >> rights.of[i]) + ((halved & mask) > (mask >> 1) + (halved < 0) ? 1 : 0);
        }
        return x;
    }
    template <Packing How>
    static Bytes packed(const Ints (&panel)[2], Bounds by) {
        const std::int32_t zero = How == Packing::without_zero_point ? by.zero_point : 0;
        Bytes made;
        _Pragma("GCC unroll 16") for (int i = 0; i < 16; ++i)
            made.of[i] = static_cast<std::int8_t>(within(panel[i / width].of[i % width], lowest - zero, highest - zero) + zero);
        return made;
    }
    static Bytes clipped(Bytes bytes, Bounds by) {
        _Pragma("GCC unroll 16") for (std::int8_t& byte : bytes.of)
            byte = static_cast<std::int8_t>(within<std::int32_t>(byte, by.low, by.high));
        return bytes;
    }

    static constexpr int tap_cells = 32;
    static constexpr int tap_place(int channel, int tap) { return 16 * tap + channel; }
    static void add_taps(Ints (&sums)[2], const std::int8_t* first, const std::int8_t* second, const Tap* weights) {
        _Pragma("GCC unroll 16") for (int i = 0; i < 16; ++i) {
            std::int32_t& sum = sums[i / width].of[i % width];
            sum = wrapped(sum, first[i] * weights[i] + second[i] * weights[16 + i]);
        }
    }
};

}  // namespace mobilenets::simd
