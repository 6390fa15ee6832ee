// AVX-512 with products of bfloat16: x86 servers since Cooper Lake and Zen 4. A bfloat16 is the upper half of a 32-bit float.
#pragma once

#include "../arithmetic.hpp"
#include "avx512.hpp"

namespace mobilenets::simd {

struct Avx512Bf16 : Avx512 {
    static constexpr const char* name = "avx512_bf16";
    using Avx512::load;
    using Avx512::store;

    static Floats load(const Half* from) {
        const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
    }
    static void store(Half* to, Floats x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), rounded(x)); }
    static void store(Half* to, Floats x, int count) {
        const auto mask = count >= width ? __mmask16(-1) : static_cast<__mmask16>((1U << count) - 1);
        _mm256_mask_storeu_epi16(to, mask, rounded(x));
    }

    /// Two neighboring numbers, broadcast to every channel.
    static __m512i pair(const Half* from) {
        std::int32_t both;
        std::memcpy(&both, from, sizeof both);
        return _mm512_set1_epi32(both);
    }
    /// The numbers of two rows, interleaved by channel.
    static __m512i interleaved(const Half* upper, const Half* lower) {
        alignas(64) static constexpr auto order = [] {
            struct {
                std::int16_t of[32];
            } made{};
            for (int i = 0; i < 32; ++i) made.of[i] = static_cast<std::int16_t>(i / 2 + i % 2 * 32);
            return made;
        }();
        const auto sixteen = [](const Half* from) {
            return _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
        };
        return _mm512_permutex2var_epi16(sixteen(upper), _mm512_load_si512(order.of), sixteen(lower));
    }
    static __m512i pairs(const Half* weights) { return _mm512_load_si512(weights); }
    /// The sums plus both products of each pair.
    static Floats dot(Floats sum, __m512i a, __m512i b) {
        asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
        return sum;
    }

private:
    static __m256i rounded(Floats x) {
        const __m256bh halves = _mm512_cvtneps_pbh(x);
        __m256i bits;
        std::memcpy(&bits, &halves, sizeof bits);
        return bits;
    }
};

}  // namespace mobilenets::simd
