// AVX-512 with VNNI and VBMI: x86 servers since Ice Lake and Zen 4. `plain.hpp` documents each function.
//
// One instruction multiplies four unsigned bytes by four signed ones and adds the products to a 32-bit sum (vpdpbusd). Inputs
// are therefore stored with 128 added, which the bias compensates.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "../arithmetic.hpp"

namespace mobilenets::simd {

/// Four rows of a map, interleaved channel by channel, for a block of 64, 32 or 16 channels.
template <int Channels>
struct Interleaved;

struct Avx512 {
    static constexpr const char* name = "avx512";
    static constexpr int width = 16, depth = 4, offset = 128;
    static constexpr int pixels = 14, tile_panels = 2, byte_panels = 4, packed_panels = 4, registers = 32;
    static constexpr bool has_reals = true, has_float_sums = true, has_shrink = false;
    using Cell = std::uint8_t;
    using Floats = __m512;
    using Ints = __m512i;

    static constexpr int place(int channel) { return channel; }

    // ---- floats
    static Floats load(const float* from) { return _mm512_loadu_ps(from); }
    static void store(float* to, Floats x) { _mm512_storeu_ps(to, x); }
    static void store(float* to, Floats x, int count) { _mm512_mask_storeu_ps(to, first<__mmask16>(count, width), x); }
    static Floats all(float number) { return _mm512_set1_ps(number); }
    static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
    static Floats multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
    static Floats multiply_add(Floats a, Floats b, Floats sum) { return _mm512_fmadd_ps(a, b, sum); }
    static Floats least(Floats a, Floats b) { return _mm512_min_ps(a, b); }
    static Floats greatest(Floats a, Floats b) { return _mm512_max_ps(a, b); }

    // ---- integers
    static Ints load(const std::int32_t* from) { return _mm512_loadu_si512(from); }
    static void store(std::int32_t* to, Ints x) { _mm512_storeu_si512(to, x); }
    static Floats to_floats(Ints x) { return _mm512_cvtepi32_ps(x); }
    static Ints all(std::int32_t number) { return _mm512_set1_epi32(number); }
    static Ints add(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
    static Ints multiply(Ints a, Ints b) { return _mm512_mullo_epi32(a, b); }

    /// Bytes as cells.
    static __m512i raised(__m512i bytes) { return _mm512_xor_si512(bytes, _mm512_set1_epi8(-128)); }
    static void to_cells(Cell* to, const std::int8_t* from, int count) {
        int i = 0;
        for (; i + 64 <= count; i += 64) _mm512_storeu_si512(to + i, raised(_mm512_loadu_si512(from + i)));
        if (i < count) _mm512_mask_storeu_epi8(to + i, first<__mmask64>(count - i, 64), raised(_mm512_loadu_si512(from + i)));
    }

    using Factors = __m512i;
    using Weights = __m512i;
    static Factors factors(const Cell* a) {
        std::int32_t four;
        std::memcpy(&four, a, sizeof four);
        return _mm512_set1_epi32(four);
    }
    static Factors weights(const Cell* b) { return _mm512_load_si512(b); }
    /// In assembly, because compilers would move the sum to memory.
    static Ints dot(Ints sum, Factors a, Factors b) {
        asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
        return sum;
    }

    /// The same with weights that stay in memory.
    static Ints dot_in_memory(Ints sum, Factors a, const Cell* b) {
        asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "m"(*reinterpret_cast<const __m512i*>(b)));
        return sum;
    }

    static Ints scale(Ints x, Ints mantissas, Ints rights) {
        const __m512i halved = times(x, mantissas);
        const __m512i half = _mm512_srli_epi32(_mm512_sllv_epi32(_mm512_set1_epi32(1), rights), 1);
        const __mmask16 negative = _mm512_movepi32_mask(halved) & _mm512_test_epi32_mask(half, half);
        const __m512i sum = _mm512_add_epi32(halved, half);
        return _mm512_srav_epi32(_mm512_mask_sub_epi32(sum, negative, sum, _mm512_set1_epi32(1)), rights);
    }
    static Ints shrink(Ints x, Ints mantissas, Ints rights, Ints halves) {
        const __m512i halved = times(x, mantissas), negative = _mm512_srai_epi32(halved, 31);
        return _mm512_srav_epi32(_mm512_add_epi32(_mm512_add_epi32(halved, halves), negative), rights);
    }
    static Ints shift_left(Ints x, Ints lefts) {
        const __m512i highest = _mm512_srlv_epi32(_mm512_set1_epi32(INT32_MAX), lefts);
        const __m512i lowest = _mm512_srav_epi32(_mm512_set1_epi32(INT32_MIN), lefts);
        return _mm512_sllv_epi32(_mm512_max_epi32(_mm512_min_epi32(x, highest), lowest), lefts);
    }

    // The sum is rounded in the same direction as its integer, down or toward zero, so the integer is that of the exact sum.
    static Ints real(Ints x, Floats factors, Floats half) {
        constexpr int down = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
        return _mm512_cvt_roundps_epi32(_mm512_fmadd_round_ps(_mm512_cvtepi32_ps(x), factors, half, down), down);
    }
    static Ints signed_real(Ints x, Floats factors, Floats half) {
        constexpr int to_zero = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC;
        return _mm512_cvttps_epi32(_mm512_fmadd_round_ps(_mm512_cvtepi32_ps(x), factors, signed_half(half, x), to_zero));
    }
    static constexpr Packing float_sums = Packing::in_floats;
    /// Rescales a sum that is already a float, rounding once to the nearest integer.
    static Ints float_sum(Ints x, Floats factors, Floats added) {
        return _mm512_castps_si512(_mm512_fmadd_ps(_mm512_castsi512_ps(x), factors, added));
    }

    struct Bounds {
        __m512i zero_point, low, high;
    };
    static Bounds bounds(int zero_point, int low, int high) {
        return {_mm512_set1_epi16(static_cast<short>(zero_point)), _mm512_set1_epi8(static_cast<char>(low)),
                _mm512_set1_epi8(static_cast<char>(high))};
    }
    /// Four panels as 64 bytes.
    template <Packing How>
    static __m512i packed(const Ints (&panels)[4], const Bounds& by) {
        if constexpr (How == Packing::in_floats) {
            const __m512i words = joined(alternating(panels[0], panels[1]), alternating(panels[2], panels[3]));
            return _mm512_permutexvar_epi8(order_of_alternating(), words);
        } else {
            const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            return _mm512_permutexvar_epi32(order, packed_by_lanes<How>(panels, by));
        }
    }
    /// The same, but ordered by quarter: the first quarter of all panels, then the second, and so on.
    template <Packing How>
    static __m512i packed_by_lanes(const Ints (&panels)[4], const Bounds& by) {
        return joined(pair<How>(panels[0], panels[1], by), pair<How>(panels[2], panels[3], by));
    }
    /// Two panels as 16-bit numbers, and two of those as bytes.
    template <Packing How>
    static __m512i pair(Ints first, Ints second, const Bounds& by) {
        if constexpr (How == Packing::in_floats) return _mm512_permutex2var_epi16(first, lowest_halves(), second);
        const __m512i both = _mm512_packs_epi32(first, second);
        return How == Packing::without_zero_point ? _mm512_adds_epi16(both, by.zero_point) : both;
    }
    static __m512i joined(__m512i first, __m512i second) { return _mm512_packs_epi16(first, second); }
    static __m512i clipped(__m512i bytes, const Bounds& by) { return _mm512_max_epi8(_mm512_min_epi8(bytes, by.high), by.low); }
    template <int Panels>
    static void store(std::int8_t* to, __m512i bytes, int at, int count) {
        if constexpr (Panels == 4) {
            if (count >= 64) return _mm512_storeu_si512(to, bytes);
            _mm512_mask_storeu_epi8(to, first<__mmask64>(count, 64), bytes);
        } else if constexpr (Panels == 2) {
            const __m256i half = at == 0 ? _mm512_castsi512_si256(bytes) : _mm512_extracti64x4_epi64(bytes, 1);
            if (count >= 32) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), half);
            _mm256_mask_storeu_epi8(to, first<__mmask32>(count, 32), half);
        } else {
            const __m128i panel = at == 0   ? _mm512_castsi512_si128(bytes)
                                  : at == 1 ? _mm512_extracti32x4_epi32(bytes, 1)
                                  : at == 2 ? _mm512_extracti32x4_epi32(bytes, 2)
                                            : _mm512_extracti32x4_epi32(bytes, 3);
            if (count >= 16) return _mm_storeu_si128(reinterpret_cast<__m128i*>(to), panel);
            _mm_mask_storeu_epi8(to, first<__mmask16>(count, 16), panel);
        }
    }
    static void load(Ints (&panels)[4], const std::int8_t* from) {
        for (int i = 0; i < 4; ++i)
            panels[i] = _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 16 * i)));
    }

    /// The nearest integers of the quotients. A half with their sign is added and the sum truncated, both rounded toward zero:
    /// halves are rounded away from zero.
    static void to_panels(Ints (&panels)[4], const float* from, Floats scale) {
        const __m512 most = _mm512_set1_ps(1073741824.0F), least = _mm512_set1_ps(-1073741824.0F);
        for (int i = 0; i < 4; ++i) {
            const __m512 quotient = _mm512_div_ps(_mm512_loadu_ps(from + 16 * i), scale);
            const __m512 within = _mm512_min_ps(_mm512_max_ps(quotient, least), most);
            constexpr int to_zero = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC;
            panels[i] = _mm512_cvttps_epi32(
                _mm512_add_round_ps(within, signed_half(_mm512_set1_ps(0.5F), _mm512_castps_si512(within)), to_zero));
        }
    }

    /// Interleaves `count` bytes of each of three rows.
    static void interleave(const std::int8_t* a, const std::int8_t* b, const std::int8_t* c, std::int8_t* to, int count) {
        alignas(64) static constexpr auto order = [] {
            struct {
                std::int8_t of[64];
            } made{};
            for (int i = 0; i < 48; ++i) made.of[i] = static_cast<std::int8_t>(i % 3 * 16 + i / 3);
            return made;
        }();
        const auto sixteen = [](const std::int8_t* from) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); };
        for (int i = 0; i < count; i += 16) {
            __m512i rows = _mm512_castsi128_si512(sixteen(a + i));
            rows = _mm512_inserti32x4(_mm512_inserti32x4(rows, sixteen(b + i), 1), sixteen(c + i), 2);
            _mm512_mask_storeu_epi8(to + 3 * i, first<__mmask64>(3 * (count - i), 48) & 0xFFFFFFFFFFFF,
                                    _mm512_permutexvar_epi8(_mm512_load_si512(order.of), rows));
        }
    }
    /// The same for 64 of each, in registers.
    static void store_colors(std::int8_t* to, __m512i a, __m512i b, __m512i c) {
        alignas(64) static constexpr auto order = [] {
            struct {
                std::uint8_t of_two[3][64], of_third[3][64];
                std::uint64_t is_third[3];
            } made{};
            for (int i = 0; i < 192; ++i) {
                const auto place = static_cast<std::uint8_t>(i / 3);
                made.of_two[i / 64][i % 64] = i % 3 == 1 ? place + 64 : place;
                made.of_third[i / 64][i % 64] = place;
                if (i % 3 == 2) made.is_third[i / 64] |= std::uint64_t{1} << i % 64;
            }
            return made;
        }();
        for (int i = 0; i < 3; ++i) {
            const __m512i two = _mm512_permutex2var_epi8(a, _mm512_load_si512(order.of_two[i]), b);
            _mm512_storeu_si512(to + 64 * i,
                                _mm512_mask_permutexvar_epi8(two, order.is_third[i], _mm512_load_si512(order.of_third[i]), c));
        }
    }
    static void look_up(const std::int8_t* table, const std::int8_t* in, std::int8_t* out, std::size_t count) {
        const __m512i negative[2] = {_mm512_loadu_si512(table), _mm512_loadu_si512(table + 64)};
        const __m512i positive[2] = {_mm512_loadu_si512(table + 128), _mm512_loadu_si512(table + 192)};
        for (std::size_t i = 0; i < count; i += 64) {
            const __mmask64 mask = first<__mmask64>(count - i < 64 ? static_cast<int>(count - i) : 64, 64);
            const __m512i bytes = _mm512_maskz_loadu_epi8(mask, in + i);
            const __m512i below = _mm512_permutex2var_epi8(negative[0], bytes, negative[1]);
            const __m512i above = _mm512_permutex2var_epi8(positive[0], bytes, positive[1]);
            _mm512_mask_storeu_epi8(out + i, mask, _mm512_mask_blend_epi8(_mm512_movepi8_mask(bytes), above, below));
        }
    }

    template <int Channels>
    using Block = Interleaved<Channels>;

private:
    template <typename Mask>
    static Mask first(int count, int all) {
        return count >= all ? static_cast<Mask>(-1) : count <= 0 ? Mask{0} : static_cast<Mask>((std::uint64_t{1} << count) - 1);
    }
    /// The permutation that puts the lowest 16 bits of two vectors in the order of 32-bit numbers packed to 16 bits.
    static __m512i lowest_halves() {
        alignas(64) static constexpr auto order = [] {
            struct {
                std::int16_t of[32];
            } made{};
            for (int i = 0; i < 32; ++i) made.of[i] = static_cast<std::int16_t>(i / 8 * 8 + i % 4 * 2 + (i % 8 >= 4 ? 32 : 0));
            return made;
        }();
        return _mm512_load_si512(order.of);
    }
    /// The lowest 16 bits of two vectors, alternating. Unlike a permutation, this does not occupy a unit that multiplies.
    static __m512i alternating(__m512i first, __m512i second) {
        return _mm512_mask_blend_epi16(0xAAAAAAAA, first, _mm512_slli_epi32(second, 16));
    }
    /// The permutation for four panels that were packed as two pairs of alternating ones.
    static __m512i order_of_alternating() {
        alignas(64) static constexpr auto order = [] {
            struct {
                std::uint8_t of[64];
            } made{};
            for (int panel = 0; panel < 4; ++panel) {
                for (int i = 0; i < 16; ++i)
                    made.of[16 * panel + i] = static_cast<std::uint8_t>(i / 4 * 16 + panel / 2 * 8 + i % 4 * 2 + panel % 2);
            }
            return made;
        }();
        return _mm512_load_si512(order.of);
    }
    /// A positive number with the sign of another.
    static __m512 signed_half(__m512 half, __m512i sign) {
        constexpr int half_or_sign = 0xF8;
        return _mm512_castsi512_ps(
            _mm512_ternarylogic_epi32(_mm512_castps_si512(half), sign, _mm512_set1_epi32(INT32_MIN), half_or_sign));
    }
    /// The upper halves of the doubled products, rounded.
    static __m512i times(__m512i x, __m512i mantissas) {
        const __m512i one = _mm512_set1_epi64(1LL << 30);
        const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(x, mantissas), one);
        const __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(mantissas, 32)), one);
        return _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 31), _mm512_slli_epi64(odd, 1));
    }
};

// A block's sums are in four vectors: channel c is in vector c % 16 / 4, at c / 16 * 4 + c % 4.

template <>
struct Interleaved<64> {
    using Vector = __m512i;
    static Vector load(const void* from) { return _mm512_loadu_si512(from); }
    static Vector raised(const std::int8_t* from) { return _mm512_xor_si512(load(from), _mm512_set1_epi8(-128)); }
    /// Two halves joined, as cells.
    static Vector joined(const std::int8_t* first, const std::int8_t* second) {
        const __m512i low = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(first)));
        const __m512i both = _mm512_inserti64x4(low, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(second)), 1);
        return _mm512_xor_si512(both, _mm512_set1_epi8(-128));
    }
    /// Stores half a vector twice.
    static void twice(void* to, const void* half) {
        _mm512_store_si512(to, _mm512_broadcast_i64x4(_mm256_loadu_si256(static_cast<const __m256i*>(half))));
    }
    static Vector low_bytes(Vector a, Vector b) { return _mm512_unpacklo_epi8(a, b); }
    static Vector high_bytes(Vector a, Vector b) { return _mm512_unpackhi_epi8(a, b); }
    static Vector low_pairs(Vector a, Vector b) { return _mm512_unpacklo_epi16(a, b); }
    static Vector high_pairs(Vector a, Vector b) { return _mm512_unpackhi_epi16(a, b); }
    static Vector dot(Vector sum, Vector a, Vector b) {
        asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
        return sum;
    }
    /// The position of a vector's sums among those of the block, if stored as whole vectors.
    static constexpr int sums_at(int vector) { return 16 * vector; }
    static void widen(const Vector (&sums)[4], __m512i (&whole)[4]) {
        for (int i = 0; i < 4; ++i) whole[i] = sums[i];
    }
    template <Packing How>
    static __m512i packed(const __m512i (&panels)[4], const Avx512::Bounds& by) {
        return Avx512::packed_by_lanes<How>(panels, by);
    }
};

template <>
struct Interleaved<32> {
    using Vector = __m256i;
    static Vector load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
    static Vector raised(const std::int8_t* from) { return _mm256_xor_si256(load(from), _mm256_set1_epi8(-128)); }
    static Vector low_bytes(Vector a, Vector b) { return _mm256_unpacklo_epi8(a, b); }
    static Vector high_bytes(Vector a, Vector b) { return _mm256_unpackhi_epi8(a, b); }
    static Vector low_pairs(Vector a, Vector b) { return _mm256_unpacklo_epi16(a, b); }
    static Vector high_pairs(Vector a, Vector b) { return _mm256_unpackhi_epi16(a, b); }
    static Vector dot(Vector sum, Vector a, Vector b) {
        asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
        return sum;
    }
    static constexpr int sums_at(int vector) { return vector % 2 * 16 + vector / 2 * 8; }
    static void widen(const Vector (&sums)[4], __m512i (&whole)[2]) {
        for (int i = 0; i < 2; ++i) whole[i] = _mm512_inserti64x4(_mm512_castsi256_si512(sums[i]), sums[i + 2], 1);
    }
    /// Two pixels.
    template <Packing How>
    static __m512i packed(const __m512i (&panels)[4], const Avx512::Bounds& by) {
        return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 4, 2, 6, 1, 5, 3, 7), Avx512::packed_by_lanes<How>(panels, by));
    }
};

template <>
struct Interleaved<16> {
    using Vector = __m128i;
    static Vector load(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }
    static Vector raised(const std::int8_t* from) { return _mm_xor_si128(load(from), _mm_set1_epi8(-128)); }
    static Vector low_bytes(Vector a, Vector b) { return _mm_unpacklo_epi8(a, b); }
    static Vector high_bytes(Vector a, Vector b) { return _mm_unpackhi_epi8(a, b); }
    static Vector low_pairs(Vector a, Vector b) { return _mm_unpacklo_epi16(a, b); }
    static Vector high_pairs(Vector a, Vector b) { return _mm_unpackhi_epi16(a, b); }
    static Vector dot(Vector sum, Vector a, Vector b) {
        asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
        return sum;
    }
    static constexpr int sums_at(int vector) { return 4 * vector; }
    static void widen(const Vector (&sums)[4], __m512i (&whole)[1]) {
        const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(sums[0]), sums[1], 1);
        const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(sums[2]), sums[3], 1);
        whole[0] = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    }
    /// Four pixels.
    template <Packing How>
    static __m512i packed(const __m512i (&panels)[4], const Avx512::Bounds& by) {
        return Avx512::packed<How>(panels, by);
    }
};

}  // namespace mobilenets::simd
