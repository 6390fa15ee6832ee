// WebAssembly with relaxed SIMD: browsers since 2023 to 2025. Some of its instructions may give different results on different
// processors, so that each browser can use native instructions.
#pragma once

#include "wasm.hpp"

namespace mobilenets::simd {

/// Uses fused multiply-add if the processor has it.
struct WasmRelaxed : Wasm {
    static constexpr const char* name = "wasm_relaxed";

    static Floats multiply_add(Floats a, Floats b, Floats sum) {
        return floats(wasm_f32x4_relaxed_madd(bits(a), bits(b), bits(sum)));
    }
    static v128_t multiply_add_doubles(v128_t a, v128_t b, v128_t sum) { return wasm_f64x2_relaxed_madd(a, b, sum); }
    static Ints real(Ints x, Floats factors, Floats half) { return real_by<WasmRelaxed>(x, factors, half); }
    static Ints signed_real(Ints x, Floats factors, Floats half) { return signed_real_by<WasmRelaxed>(x, factors, half); }
};

/// Multiplies four bytes by four others and adds the products to a sum in one instruction. The specification allows only 7 bits
/// for one factor. On Arm it has 8 signed bits, and this set is used only there. A browser may first add two products in 16
/// bits, at least until it has optimized the code; this suffices unless a weight is -128.
struct WasmDot : WasmRelaxed {
    static constexpr const char* name = "wasm_dot";
    static constexpr int depth = 4;
    static constexpr int pixels = 6;  // such processors have 32 registers
    using Cell = std::int8_t;
    using Tap = std::int8_t;

    static bool runs_here() {
        const auto product = [](std::int8_t weight, std::int8_t number) {
            const v128_t sum = dot(wasm_i32x4_splat(0), hidden(wasm_i8x16_splat(number)), hidden(wasm_i8x16_splat(weight)));
            return wasm_i32x4_extract_lane(sum, 0);
        };
        return product(127, -128) == -4 * 127 * 128 && product(-127, -128) == 4 * 127 * 128 && product(-127, 127) == -4 * 127 * 127;
    }

    static void to_cells(Cell* to, const std::int8_t* from, int count) {
        std::memcpy(to, from, static_cast<std::size_t>(count));
    }
    static Factors factors(const Cell* a) { return wasm_v128_load32_splat(a); }
    static Factors weights(const Cell* b) { return wasm_v128_load(b); }
    static Ints dot(Ints sum, Factors a, Factors b) { return wasm_i32x4_relaxed_dot_i8x16_i7x16_add(b, a, sum); }

    static constexpr int tap_place(int channel, int tap) { return 16 * tap + channel; }
    static void add_taps(Ints (&sums)[4], const std::int8_t* first, const std::int8_t* second, const Tap* weights) {
        add_tap(sums, wasm_v128_load(first), wasm_v128_load(weights));
        add_tap(sums, wasm_v128_load(second), wasm_v128_load(weights + 16));
    }

private:
    /// Hides a vector from the compiler, which would otherwise transform the computation that follows.
    static v128_t hidden(v128_t x) {
        asm volatile("" : "+r"(x));
        return x;
    }
    static void add_tap(Ints (&sums)[4], v128_t numbers, v128_t weights) {
        const v128_t low = wasm_i16x8_extmul_low_i8x16(numbers, weights), high = wasm_i16x8_extmul_high_i8x16(numbers, weights);
        sums[0] = wasm_i32x4_add(sums[0], wasm_i32x4_extend_low_i16x8(low));
        sums[1] = wasm_i32x4_add(sums[1], wasm_i32x4_extend_high_i16x8(low));
        sums[2] = wasm_i32x4_add(sums[2], wasm_i32x4_extend_low_i16x8(high));
        sums[3] = wasm_i32x4_add(sums[3], wasm_i32x4_extend_high_i16x8(high));
    }
};

}  // namespace mobilenets::simd
