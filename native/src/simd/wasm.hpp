// WebAssembly with 128-bit vectors: every browser since 2023. `plain.hpp` documents each function.
//
// Products of 8-bit integers are computed as pairs of 16-bit integers (i32x4.dot_i16x8_s). There is no shift with a different
// count per lane, which rescaling in integers needs. Sums are rescaled in 64-bit floats instead, in which the product and the
// sum that `real_of` found are exact.
#pragma once

#include <wasm_simd128.h>

#include <cstdint>
#include <cstring>

#include "../arithmetic.hpp"

namespace mobilenets::simd {

struct Wasm {
    static constexpr const char* name = "wasm";
    static constexpr int width = 4, depth = 2, offset = 0;
    static constexpr int pixels = 2, tile_panels = 1, byte_panels = 1, packed_panels = 1;  // of 16 registers
    static constexpr bool has_reals = true, has_float_sums = false, has_shrink = false;
    using Cell = std::int16_t;
    using Tap = std::int16_t;
    using Floats = float __attribute__((vector_size(16)));
    using Ints = v128_t;

    static constexpr int place(int channel) { return channel; }

    // ---- floats
    static Floats load(const float* from) { return floats(wasm_v128_load(from)); }
    static void store(float* to, Floats x) { wasm_v128_store(to, bits(x)); }
    static void store(float* to, Floats x, int count) {
        if (count >= width) return store(to, x);
        float numbers[width];
        wasm_v128_store(numbers, bits(x));
        std::memcpy(to, numbers, sizeof(float) * static_cast<std::size_t>(count));
    }
    static Floats all(float number) { return floats(wasm_f32x4_splat(number)); }
    static Floats add(Floats a, Floats b) { return a + b; }
    static Floats multiply(Floats a, Floats b) { return a * b; }
    static Floats multiply_add(Floats a, Floats b, Floats sum) { return a * b + sum; }
    // NaN becomes the second number.
    static Floats least(Floats a, Floats b) { return floats(wasm_f32x4_pmin(bits(b), bits(a))); }
    static Floats greatest(Floats a, Floats b) { return floats(wasm_f32x4_pmax(bits(b), bits(a))); }

    // ---- integers
    static Ints load(const std::int32_t* from) { return wasm_v128_load(from); }
    static void store(std::int32_t* to, Ints x) { wasm_v128_store(to, x); }
    static Floats to_floats(Ints x) { return floats(wasm_f32x4_convert_i32x4(x)); }
    static Ints all(std::int32_t number) { return wasm_i32x4_splat(number); }
    static Ints add(Ints a, Ints b) { return wasm_i32x4_add(a, b); }
    static Ints multiply(Ints a, Ints b) { return wasm_i32x4_mul(a, b); }

    static void to_cells(Cell* to, const std::int8_t* from, int count) {
        for (int i = 0; i < count; i += 16) {
            const v128_t bytes = wasm_v128_load(from + i);
            wasm_v128_store(to + i, wasm_i16x8_extend_low_i8x16(bytes));
            wasm_v128_store(to + i + 8, wasm_i16x8_extend_high_i8x16(bytes));
        }
    }

    using Factors = v128_t;
    using Weights = v128_t;
    static Factors factors(const Cell* a) { return wasm_v128_load32_splat(a); }
    static Factors weights(const Cell* b) { return wasm_v128_load(b); }
    static Ints dot(Ints sum, Factors a, Factors b) { return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(a, b)); }

    static constexpr int tap_cells = 32;
    static constexpr int tap_place(int channel, int tap) { return 2 * channel + tap; }
    static void add_taps(Ints (&sums)[4], const std::int8_t* first, const std::int8_t* second, const Tap* weights) {
        for (int half = 0; half < 2; ++half) {
            const v128_t a = wasm_i16x8_load8x8(first + 8 * half), b = wasm_i16x8_load8x8(second + 8 * half);
            const v128_t low = wasm_i16x8_shuffle(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
            const v128_t high = wasm_i16x8_shuffle(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
            sums[2 * half] = dot(sums[2 * half], low, Wasm::weights(weights + 16 * half));
            sums[2 * half + 1] = dot(sums[2 * half + 1], high, Wasm::weights(weights + 16 * half + 8));
        }
    }

    // Only for the rare factors for which no floats give the same integers: one number at a time.
    static Ints scale(Ints x, Ints mantissas, Ints rights) {
        std::int32_t numbers[width], by[width], shifts[width];
        store(numbers, x), store(by, mantissas), store(shifts, rights);
        for (int i = 0; i < width; ++i) numbers[i] = static_cast<std::int32_t>(scaled(numbers[i], {by[i], -shifts[i]}));
        return load(numbers);
    }
    static Ints shift_left(Ints x, Ints lefts) {
        std::int32_t numbers[width], shifts[width];
        store(numbers, x), store(shifts, lefts);
        for (int i = 0; i < width; ++i) {
            const std::int64_t shifted = numbers[i] * (std::int64_t{1} << shifts[i]);
            numbers[i] = static_cast<std::int32_t>(within<std::int64_t>(shifted, INT32_MIN, INT32_MAX));
        }
        return load(numbers);
    }

    static Ints real(Ints x, Floats factors, Floats half) { return real_by<Wasm>(x, factors, half); }
    static Ints signed_real(Ints x, Floats factors, Floats half) { return signed_real_by<Wasm>(x, factors, half); }

    struct Bounds {
        v128_t zero_point, low, high;
    };
    static Bounds bounds(int zero_point, int low, int high) {
        return {wasm_i16x8_splat(static_cast<std::int16_t>(zero_point)), wasm_i8x16_splat(static_cast<std::int8_t>(low)),
                wasm_i8x16_splat(static_cast<std::int8_t>(high))};
    }
    template <Packing How>
    static v128_t packed(const Ints (&panel)[4], const Bounds& by) {
        v128_t low = wasm_i16x8_narrow_i32x4(panel[0], panel[1]), high = wasm_i16x8_narrow_i32x4(panel[2], panel[3]);
        if constexpr (How == Packing::without_zero_point)
            low = wasm_i16x8_add_sat(low, by.zero_point), high = wasm_i16x8_add_sat(high, by.zero_point);
        return wasm_i8x16_narrow_i16x8(low, high);
    }
    static v128_t clipped(v128_t bytes, const Bounds& by) { return wasm_i8x16_max(wasm_i8x16_min(bytes, by.high), by.low); }
    template <int Panels>
    static void store(std::int8_t* to, v128_t bytes, int, int count) {
        if (count >= 16) return wasm_v128_store(to, bytes);
        std::int8_t numbers[16];
        wasm_v128_store(numbers, bytes);
        std::memcpy(to, numbers, static_cast<std::size_t>(count));
    }
    static void load(Ints (&panel)[4], const std::int8_t* from) {
        const v128_t low = wasm_i16x8_load8x8(from), high = wasm_i16x8_load8x8(from + 8);
        panel[0] = wasm_i32x4_extend_low_i16x8(low), panel[1] = wasm_i32x4_extend_high_i16x8(low);
        panel[2] = wasm_i32x4_extend_low_i16x8(high), panel[3] = wasm_i32x4_extend_high_i16x8(high);
    }

    static void to_panels(Ints (&panel)[4], const float* from, Floats scale) {
        const v128_t largest = wasm_f32x4_splat(1073741824.0F), half = wasm_f32x4_splat(0.5F);
        for (int i = 0; i < 4; ++i) {
            const v128_t number = wasm_f32x4_div(wasm_v128_load(from + 4 * i), bits(scale));  // NaN becomes the smallest
            const v128_t quotient = wasm_f32x4_pmin(wasm_f32x4_pmax(wasm_f32x4_neg(largest), number), largest);
            const v128_t whole = wasm_f32x4_trunc(quotient), rest = wasm_f32x4_sub(quotient, whole);
            const v128_t up = wasm_f32x4_ge(rest, half), down = wasm_f32x4_le(rest, wasm_f32x4_neg(half));
            panel[i] = wasm_i32x4_add(wasm_i32x4_sub(wasm_i32x4_trunc_sat_f32x4(whole), up), down);
        }
    }

    static void interleave(const std::int8_t* a, const std::int8_t* b, const std::int8_t* c, std::int8_t* to, int count) {
        for (int i = 0; i < count; ++i) to[3 * i] = a[i], to[3 * i + 1] = b[i], to[3 * i + 2] = c[i];
    }
    static void look_up(const std::int8_t* table, const std::int8_t* in, std::int8_t* out, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) out[i] = table[in[i] + 128];
    }

    // ---- two 64-bit floats
    static v128_t multiply_add_doubles(v128_t a, v128_t b, v128_t sum) { return wasm_f64x2_add(wasm_f64x2_mul(a, b), sum); }

protected:
    static v128_t bits(Floats x) { return (v128_t)x; }
    static Floats floats(v128_t x) { return (Floats)x; }
    static v128_t upper_half(v128_t x) { return wasm_i32x4_shuffle(x, x, 2, 3, 2, 3); }

    /// `half` is in the middle of the interval that the results allow, which is much wider than the error of a 64-bit float. So
    /// rounding down equals rounding to nearest after subtracting a half; adding 1.5 * 2**52 puts the result into the lowest
    /// bits.
    static v128_t doubles(Floats x) { return wasm_f64x2_promote_low_f32x4(bits(x)); }
    static v128_t lessened(Floats half) { return wasm_f64x2_sub(doubles(half), wasm_f64x2_splat(0.5)); }
    static Ints nearest(v128_t low, v128_t high) {
        const v128_t magic = wasm_f64x2_splat(6755399441055744.0);
        return wasm_i32x4_shuffle(wasm_f64x2_add(low, magic), wasm_f64x2_add(high, magic), 0, 2, 4, 6);
    }
    template <class V>
    static Ints real_by(Ints x, Floats factors, Floats half) {
        const Floats upper_factors = floats(upper_half(bits(factors))), upper = floats(upper_half(bits(half)));
        const v128_t low = wasm_f64x2_convert_low_i32x4(x), high = wasm_f64x2_convert_low_i32x4(upper_half(x));
        return nearest(V::multiply_add_doubles(low, doubles(factors), lessened(half)),
                       V::multiply_add_doubles(high, doubles(upper_factors), lessened(upper)));
    }
    template <class V>
    static Ints signed_real_by(Ints x, Floats factors, Floats half) {
        const Floats upper_factors = floats(upper_half(bits(factors))), upper = floats(upper_half(bits(half)));
        const v128_t low = wasm_f64x2_convert_low_i32x4(x), high = wasm_f64x2_convert_low_i32x4(upper_half(x));
        const v128_t sign = wasm_f64x2_splat(-0.0);
        return nearest(
            V::multiply_add_doubles(low, doubles(factors), wasm_v128_xor(lessened(half), wasm_v128_and(low, sign))),
            V::multiply_add_doubles(high, doubles(upper_factors), wasm_v128_xor(lessened(upper), wasm_v128_and(high, sign))));
    }
};

}  // namespace mobilenets::simd
