// AVX2 and FMA: x86 processors since 2013. `plain.hpp` documents each function.
//
// Products of 8-bit integers are computed as pairs of 16-bit integers (vpmaddwd), because adding two products of unsigned and
// signed bytes in 16 bits (vpmaddubsw) overflows.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "../arithmetic.hpp"

namespace mobilenets::simd {

/// The common base of instruction sets with these vectors; `Set` is the derived set. Each set has its own instances of the
/// functions, so that the linker never picks one compiled for another processor.
template <class Set>
struct Avx2Vectors {
    static constexpr int width = 8, depth = 2;
    static constexpr int offset = 0, pixels = 6, tile_panels = 1, byte_panels = 1, packed_panels = 1;
    static constexpr bool has_reals = true, has_float_sums = true, has_shrink = true;
    using Cell = std::int16_t;
    using Tap = std::int16_t;
    using Floats = __m256;
    using Ints = __m256i;

    // Interleaving and packing work within 128-bit halves: the first vector has channels 0-3 and 8-11.
    static constexpr int place(int channel) { return (channel & 3) + (channel >> 3) * 4 + ((channel >> 2) & 1) * 8; }

    // ---- floats
    static Floats load(const float* from) { return _mm256_loadu_ps(from); }
    static void store(float* to, Floats x) { _mm256_storeu_ps(to, x); }
    static void store(float* to, Floats x, int count) {
        if (count >= width) return store(to, x);
        const __m256i places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_maskstore_ps(to, _mm256_cmpgt_epi32(_mm256_set1_epi32(count), places), x);
    }
    static Floats all(float number) { return _mm256_set1_ps(number); }
    static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
    static Floats multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
    static Floats multiply_add(Floats a, Floats b, Floats sum) { return _mm256_fmadd_ps(a, b, sum); }
    static Floats least(Floats a, Floats b) { return _mm256_min_ps(a, b); }
    static Floats greatest(Floats a, Floats b) { return _mm256_max_ps(a, b); }

    // ---- integers
    static Ints load(const std::int32_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
    static void store(std::int32_t* to, Ints x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), x); }
    static Floats to_floats(Ints x) { return _mm256_cvtepi32_ps(x); }
    static Ints all(std::int32_t number) { return _mm256_set1_epi32(number); }
    static Ints add(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
    static Ints multiply(Ints a, Ints b) { return _mm256_mullo_epi32(a, b); }

    static void to_cells(Cell* to, const std::int8_t* from, int count) {
        for (int i = 0; i < count; i += 16) _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), widened(from + i));
    }

    using Factors = __m256i;
    using Weights = __m256i;
    static Factors factors(const void* a) {
        std::int32_t pair;
        std::memcpy(&pair, a, sizeof pair);
        return _mm256_set1_epi32(pair);
    }
    static Factors weights(const void* b) { return _mm256_load_si256(static_cast<const __m256i*>(b)); }
    /// Adds pairs of products of 16-bit integers to each sum.
    static Ints add_pairs(Ints sum, __m256i a, __m256i b) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }
    static Ints dot(Ints sum, Factors a, Factors b) { return Set::add_pairs(sum, a, b); }

    static constexpr int tap_cells = 32;
    static constexpr int tap_place(int channel, int tap) { return 2 * place(channel) + tap; }
    static void add_taps(Ints (&sums)[2], const std::int8_t* first, const std::int8_t* second, const Tap* weights) {
        const __m256i a = widened(first), b = widened(second);
        sums[0] = Set::add_pairs(sums[0], _mm256_unpacklo_epi16(a, b), Avx2Vectors::weights(weights));
        sums[1] = Set::add_pairs(sums[1], _mm256_unpackhi_epi16(a, b), Avx2Vectors::weights(weights + 16));
    }

    static Ints scale(Ints x, Ints mantissas, Ints rights) {
        const __m256i halved = times(x, mantissas);
        const __m256i half = _mm256_srli_epi32(_mm256_sllv_epi32(_mm256_set1_epi32(1), rights), 1);
        const __m256i negative =
            _mm256_and_si256(_mm256_srai_epi32(halved, 31), _mm256_cmpgt_epi32(half, _mm256_setzero_si256()));
        return _mm256_srav_epi32(_mm256_add_epi32(_mm256_add_epi32(halved, half), negative), rights);
    }
    static Ints shrink(Ints x, Ints mantissas, Ints rights, Ints halves) {
        const __m256i halved = times(x, mantissas), negative = _mm256_srai_epi32(halved, 31);
        return _mm256_srav_epi32(_mm256_add_epi32(_mm256_add_epi32(halved, halves), negative), rights);
    }
    static Ints shift_left(Ints x, Ints lefts) {
        const __m256i highest = _mm256_srlv_epi32(_mm256_set1_epi32(INT32_MAX), lefts);
        const __m256i lowest = _mm256_srav_epi32(_mm256_set1_epi32(INT32_MIN), lefts);
        return _mm256_sllv_epi32(_mm256_max_epi32(_mm256_min_epi32(x, highest), lowest), lefts);
    }

    /// Sets the rounding mode of floats during its lifetime: down for `real`, toward zero for `signed_real`, else to nearest.
    /// Inputs are loaded and results stored within it, because compilers do not know about the mode.
    class Rounding {
    public:
        explicit Rounding(Direction direction = Direction::nearest) { set(direction); }
        Rounding(const Rounding&) = delete;
        Rounding& operator=(const Rounding&) = delete;
        ~Rounding() { set(Direction::nearest); }

        void set(Direction direction) {
            if (direction == now_) return;
            now_ = direction;
            const unsigned others = before_ & ~static_cast<unsigned>(_MM_ROUND_MASK);
            const unsigned state = direction == Direction::down      ? others | _MM_ROUND_DOWN
                                   : direction == Direction::to_zero ? others | _MM_ROUND_TOWARD_ZERO
                                                                     : before_;
            asm volatile("vldmxcsr %0" : : "m"(state) : "memory");
        }

    private:
        unsigned before_ = _mm_getcsr();
        Direction now_ = Direction::nearest;
    };
    static Ints real(Ints x, Floats factors, Floats half) {
        return _mm256_cvtps_epi32(_mm256_fmadd_ps(_mm256_cvtepi32_ps(x), factors, half));
    }
    static Ints signed_real(Ints x, Floats factors, Floats half) {
        const __m256 sign = _mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32(INT32_MIN)));
        return _mm256_cvttps_epi32(_mm256_fmadd_ps(_mm256_cvtepi32_ps(x), factors, _mm256_or_ps(half, sign)));
    }
    static constexpr Packing float_sums = Packing::whole;
    static Ints float_sum(Ints x, Floats factors, Floats added) {
        const __m256i zero = _mm256_set1_epi32(0x4B400000);  // the bits of the float that represents 0
        return _mm256_sub_epi32(_mm256_castps_si256(_mm256_fmadd_ps(_mm256_castsi256_ps(x), factors, added)), zero);
    }

    struct Bounds {
        __m256i zero_point;
        __m128i low, high;
    };
    static Bounds bounds(int zero_point, int low, int high) {
        return {_mm256_set1_epi16(static_cast<short>(zero_point)), _mm_set1_epi8(static_cast<char>(low)),
                _mm_set1_epi8(static_cast<char>(high))};
    }
    template <Packing How>
    static __m128i packed(const Ints (&panel)[2], const Bounds& by) {
        __m256i words = _mm256_packs_epi32(panel[0], panel[1]);
        if constexpr (How == Packing::without_zero_point) words = _mm256_adds_epi16(words, by.zero_point);
        return _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    }
    static __m128i clipped(__m128i bytes, const Bounds& by) { return _mm_max_epi8(_mm_min_epi8(bytes, by.high), by.low); }
    template <int Panels>
    static void store(std::int8_t* to, __m128i bytes, int, int count) {
        if (count >= 16) return _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
        alignas(16) std::int8_t numbers[16];
        _mm_store_si128(reinterpret_cast<__m128i*>(numbers), bytes);
        std::memcpy(to, numbers, static_cast<std::size_t>(count));
    }
    static void load(Ints (&panel)[2], const std::int8_t* from) {
        const __m256i wide = widened(from), sign = _mm256_srai_epi16(wide, 15);
        panel[0] = _mm256_unpacklo_epi16(wide, sign);
        panel[1] = _mm256_unpackhi_epi16(wide, sign);
    }

    static void to_panels(Ints (&panel)[2], const float* from, Floats scale) {
        for (int i = 0; i < 2; ++i) {
            const __m256 numbers =
                _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(from + 4 * i)), _mm_loadu_ps(from + 4 * i + 8), 1);
            const __m256 largest = _mm256_set1_ps(1073741824.0F), half = _mm256_set1_ps(0.5F);
            const __m256 quotient = _mm256_min_ps(
                _mm256_max_ps(_mm256_div_ps(numbers, scale), _mm256_sub_ps(_mm256_setzero_ps(), largest)), largest);
            const __m256 whole = _mm256_round_ps(quotient, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC),
                         rest = _mm256_sub_ps(quotient, whole);
            const __m256i up = _mm256_castps_si256(_mm256_cmp_ps(rest, half, _CMP_GE_OQ));  // -1 where it is
            const __m256i down = _mm256_castps_si256(_mm256_cmp_ps(rest, _mm256_sub_ps(_mm256_setzero_ps(), half), _CMP_LE_OQ));
            panel[i] = _mm256_add_epi32(_mm256_sub_epi32(_mm256_cvttps_epi32(whole), up), down);
        }
    }

    static void interleave(const std::int8_t* a, const std::int8_t* b, const std::int8_t* c, std::int8_t* to, int count) {
        for (int i = 0; i < count; ++i) to[3 * i] = a[i], to[3 * i + 1] = b[i], to[3 * i + 2] = c[i];
    }
    static void look_up(const std::int8_t* table, const std::int8_t* in, std::int8_t* out, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) out[i] = table[in[i] + 128];
    }

private:
    /// The upper halves of the doubled products, rounded.
    static __m256i times(__m256i x, __m256i mantissas) {
        const __m256i one = _mm256_set1_epi64x(1LL << 30);
        const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(x, mantissas), one);
        const __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(mantissas, 32)), one);
        return _mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xAA);
    }
    static __m256i widened(const std::int8_t* from) {
        return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    }
};

struct Avx2 : Avx2Vectors<Avx2> {
    static constexpr const char* name = "avx2";
};

}  // namespace mobilenets::simd
