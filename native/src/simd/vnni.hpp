// AVX2 vectors with VNNI, without the rest of AVX-512: laptops and desktops with AVX-VNNI since Alder Lake, and Cascade Lake
// servers, which lack VBMI. `plain.hpp` documents each function.
//
// One instruction multiplies four unsigned bytes by four signed ones and adds the products to a 32-bit sum (vpdpbusd), another
// does so with pairs of 16-bit numbers (vpdpwssd). Inputs of pointwise convolutions are stored with 128 added, which the bias
// compensates.
#pragma once

#include "avx2.hpp"

namespace mobilenets::simd {

/// `Set` provides the products: `dot` for bytes and, if it is one instruction, `add_pairs` for 16-bit numbers.
template <class Set>
struct VnniVectors : Avx2Vectors<Set> {
    static constexpr int depth = 4, offset = 128;
    using Cell = std::uint8_t;

    static void to_cells(Cell* to, const std::int8_t* from, int count) {
        for (int i = 0; i < count; i += 16) {
            const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
            _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), _mm_xor_si128(bytes, _mm_set1_epi8(-128)));
        }
    }
};

/// The instructions as AVX encodes them.
struct AvxVnni : VnniVectors<AvxVnni> {
    static constexpr const char* name = "avx_vnni";

    static Ints dot(Ints sum, Factors a, Factors b) {
        asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
        return sum;
    }
    static Ints add_pairs(Ints sum, __m256i a, __m256i b) {
        asm("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
        return sum;
    }
};

/// The same as AVX-512 encodes them.
struct Avx512Vnni : VnniVectors<Avx512Vnni> {
    static constexpr const char* name = "avx512_vnni";

    static Ints dot(Ints sum, Factors a, Factors b) {
        asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
        return sum;
    }
    static Ints add_pairs(Ints sum, __m256i a, __m256i b) {
        asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
        return sum;
    }
};

/// The same products with other instructions, for tests on processors without VNNI.
struct EmulatedVnni : VnniVectors<EmulatedVnni> {
    static constexpr const char* name = "emulated_vnni";

    static Ints dot(Ints sum, Factors a, Factors b) {
        const __m256i lowest = _mm256_and_si256(a, _mm256_set1_epi16(255));
        const __m256i even = _mm256_madd_epi16(lowest, _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
        const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));
        return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
    }
};

}  // namespace mobilenets::simd
