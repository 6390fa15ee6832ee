// NEON with the dot product instruction: 64-bit Arm since version 8.2. `plain.hpp` documents each function.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "../arithmetic.hpp"

namespace mobilenets::simd {

struct Neon {
    static constexpr const char* name = "neon";
    static constexpr int width = 4, depth = 4;
    static constexpr int offset = 0, pixels = 6, tile_panels = 1, byte_panels = 1, packed_panels = 1;
    static constexpr bool has_reals = false, has_float_sums = true, has_shrink = false;
    using Cell = std::int8_t;
    using Tap = std::int8_t;
    using Floats = float32x4_t;
    using Ints = int32x4_t;

    static constexpr int place(int channel) { return channel; }

    // ---- floats
    static Floats load(const float* from) { return vld1q_f32(from); }
    static void store(float* to, Floats x) { vst1q_f32(to, x); }
    static void store(float* to, Floats x, int count) {
        if (count >= width) return store(to, x);
        float numbers[width];
        vst1q_f32(numbers, x);
        __builtin_memcpy(to, numbers, sizeof(float) * static_cast<std::size_t>(count));
    }
    static Floats all(float number) { return vdupq_n_f32(number); }
    static Floats add(Floats a, Floats b) { return vaddq_f32(a, b); }
    static Floats multiply(Floats a, Floats b) { return vmulq_f32(a, b); }
    static Floats multiply_add(Floats a, Floats b, Floats sum) { return vfmaq_f32(sum, a, b); }
    static Floats least(Floats a, Floats b) { return vminq_f32(a, b); }
    static Floats greatest(Floats a, Floats b) { return vmaxq_f32(a, b); }

    // ---- integers
    static Ints load(const std::int32_t* from) { return vld1q_s32(from); }
    static void store(std::int32_t* to, Ints x) { vst1q_s32(to, x); }
    static Ints all(std::int32_t number) { return vdupq_n_s32(number); }
    static Ints add(Ints a, Ints b) { return vaddq_s32(a, b); }
    static Ints multiply(Ints a, Ints b) { return vmulq_s32(a, b); }

    static void to_cells(Cell* to, const std::int8_t* from, int count) {
        __builtin_memcpy(to, from, static_cast<std::size_t>(count));
    }

    using Factors = int8x16_t;
    using Weights = int8x16_t;
    static Factors factors(const Cell* a) {
        std::int32_t four;
        __builtin_memcpy(&four, a, sizeof four);
        return vreinterpretq_s8_s32(vdupq_n_s32(four));
    }
    static Factors weights(const Cell* b) { return vld1q_s8(b); }
    static Ints dot(Ints sum, Factors a, Factors b) { return vdotq_s32(sum, b, a); }

    static constexpr int tap_cells = 32;
    static constexpr int tap_place(int channel, int tap) { return 16 * tap + channel; }
    static void add_taps(Ints (&sums)[4], const std::int8_t* first, const std::int8_t* second, const Tap* weights) {
        add_tap(sums, vld1q_s8(first), vld1q_s8(weights));
        add_tap(sums, vld1q_s8(second), vld1q_s8(weights + 16));
    }

    static Ints scale(Ints x, Ints mantissas, Ints rights) {
        const Ints halved = vqrdmulhq_s32(x, mantissas), lefts = vnegq_s32(rights);
        const Ints negative = vshrq_n_s32(vandq_s32(halved, lefts), 31);  // -1 if a negative number is shifted
        return vrshlq_s32(vqaddq_s32(halved, negative), lefts);
    }
    static Ints shift_left(Ints x, Ints lefts) { return vqshlq_s32(x, lefts); }

    static constexpr Packing float_sums = Packing::in_floats;
    static Ints float_sum(Ints x, Floats factors, Floats added) {
        return vreinterpretq_s32_f32(vfmaq_f32(added, vreinterpretq_f32_s32(x), factors));
    }

    struct Bounds {
        int16x8_t zero_point;
        int8x16_t low, high;
    };
    static Bounds bounds(int zero_point, int low, int high) {
        return {vdupq_n_s16(static_cast<std::int16_t>(zero_point)), vdupq_n_s8(static_cast<std::int8_t>(low)),
                vdupq_n_s8(static_cast<std::int8_t>(high))};
    }
    template <Packing How>
    static int8x16_t packed(const Ints (&panel)[4], const Bounds& by) {
        int16x8_t low = halves<How>(panel[0], panel[1]), high = halves<How>(panel[2], panel[3]);
        if constexpr (How == Packing::without_zero_point)
            low = vqaddq_s16(low, by.zero_point), high = vqaddq_s16(high, by.zero_point);
        return vcombine_s8(vqmovn_s16(low), vqmovn_s16(high));
    }
    static int8x16_t clipped(int8x16_t bytes, const Bounds& by) { return vmaxq_s8(vminq_s8(bytes, by.high), by.low); }
    template <int Panels>
    static void store(std::int8_t* to, int8x16_t bytes, int, int count) {
        if (count >= 16) return vst1q_s8(to, bytes);
        std::int8_t numbers[16];
        vst1q_s8(numbers, bytes);
        __builtin_memcpy(to, numbers, static_cast<std::size_t>(count));
    }
    static void load(Ints (&panel)[4], const std::int8_t* from) {
        const int8x16_t bytes = vld1q_s8(from);
        const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_high_s8(bytes);
        panel[0] = vmovl_s16(vget_low_s16(low)), panel[1] = vmovl_high_s16(low);
        panel[2] = vmovl_s16(vget_low_s16(high)), panel[3] = vmovl_high_s16(high);
    }

    static void to_panels(Ints (&panel)[4], const float* from, Floats scale) {
        const Floats largest = vdupq_n_f32(1073741824.0F);
        for (int i = 0; i < 4; ++i) {
            const Floats quotient =
                vminnmq_f32(vmaxnmq_f32(vdivq_f32(vld1q_f32(from + 4 * i), scale), vnegq_f32(largest)), largest);
            panel[i] = vcvtaq_s32_f32(quotient);
        }
    }

    static void interleave(const std::int8_t* a, const std::int8_t* b, const std::int8_t* c, std::int8_t* to, int count) {
        for (int i = 0; i < count; ++i) to[3 * i] = a[i], to[3 * i + 1] = b[i], to[3 * i + 2] = c[i];
    }
    static void look_up(const std::int8_t* table, const std::int8_t* in, std::int8_t* out, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) out[i] = table[in[i] + 128];
    }

private:
    template <Packing How>
    static int16x8_t halves(Ints first, Ints second) {
        if constexpr (How == Packing::in_floats)
            return vuzp1q_s16(vreinterpretq_s16_s32(first), vreinterpretq_s16_s32(second));
        else
            return vcombine_s16(vqmovn_s32(first), vqmovn_s32(second));
    }
    static void add_tap(Ints (&sums)[4], int8x16_t numbers, int8x16_t weights) {
        const int16x8_t low = vmull_s8(vget_low_s8(numbers), vget_low_s8(weights)), high = vmull_high_s8(numbers, weights);
        sums[0] = vaddw_s16(sums[0], vget_low_s16(low)), sums[1] = vaddw_high_s16(sums[1], low);
        sums[2] = vaddw_s16(sums[2], vget_low_s16(high)), sums[3] = vaddw_high_s16(sums[3], high);
    }
};

}  // namespace mobilenets::simd
