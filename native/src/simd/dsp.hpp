// The DSP extension of 32-bit Arm (Cortex-M4, M7, M33, M55): two 16-bit products at once. `plain.hpp` documents each function.
#pragma once

#include <arm_acle.h>

#include "compact.hpp"

namespace mobilenets::simd {

struct Dsp : Compact {
    static constexpr const char* name = "dsp";

    struct Factors {
        int16x2_t even, odd;
    };
    static Factors factors(const Cell* a) { return halves(a); }
    static Ints dot(Ints sum, Factors a, Weights b) {
        _Pragma("GCC unroll 16") for (int i = 0; i < width; ++i) {
            const Factors of = halves(b + depth * i);
            sum.of[i] = __smlad(a.odd, of.odd, __smlad(a.even, of.even, sum.of[i]));
        }
        return sum;
    }

private:
    /// Four bytes as 16-bit numbers: the first and third, the second and fourth.
    static Factors halves(const Cell* four) {
        std::uint32_t bytes;
        __builtin_memcpy(&bytes, four, sizeof bytes);
        return {__sxtb16(bytes), __sxtb16(bytes >> 8 | bytes << 24)};
    }
};

}  // namespace mobilenets::simd
