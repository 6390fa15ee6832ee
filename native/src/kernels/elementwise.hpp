// Elementwise kernels: sums, products, and conversions between floats and integers.
#pragma once

#include "sums.hpp"

namespace mobilenets {

template <class V, typename Of>
void each_vector(std::size_t count, const Of& of) {
    for (std::size_t i = 0; i < count; i += V::width) of(i, static_cast<int>(count - i < V::width ? count - i : V::width));
}

static inline int left(std::size_t count, int most) {
    return count < static_cast<std::size_t>(most) ? static_cast<int>(count) : most;
}

/// Combines two rows of bytes, as many panels at a time as are packed at once; `of(a, b)` computes the results from integers.
template <class V, typename Of>
void combine(const ByteCombination& by, const std::int8_t* a, const std::int8_t* b, std::int8_t* out, std::size_t count,
             const Of& of) {
    constexpr int N = V::packed_panels * vectors<V>, at_once = N * V::width;
    const auto bounds = V::bounds(by.zero_point, by.low, by.high);
    const bool clips = by.clips();
    for (std::size_t i = 0; i < count; i += at_once) {
        typename V::Ints first[N], second[N];
        V::load(first, a + i);
        V::load(second, b + i);
        UNROLLED
        for (int j = 0; j < N; ++j) first[j] = of(first[j], second[j]);
        auto bytes = V::template packed<Packing::without_zero_point>(first, bounds);
        if (clips) bytes = V::clipped(bytes, bounds);
        V::template store<V::packed_panels>(out + i, bytes, 0, left(count - i, at_once));
    }
}

template <class V>
void add_bytes(const ByteCombination& by, const std::int8_t* a, const std::int8_t* b, std::int8_t* out, std::size_t count) {
    if constexpr (V::has_reals) {
        if (by.in_reals) {
            const Rounding<V> rounding(Direction::down);
            const auto first = V::all(by.factors[0]), second = V::all(by.factors[1]), half = V::all(by.half);
            return combine<V>(by, a, b, out, count, [&](typename V::Ints x, typename V::Ints y) {
                return V::real(x, first, V::multiply_add(V::to_floats(y), second, half));
            });
        }
    }
    const auto bits = V::all(std::int32_t{1} << ByteCombination::bits);
    combine<V>(by, a, b, out, count, [&](typename V::Ints x, typename V::Ints y) {
        x = V::multiply(V::add(x, V::all(-by.zero_points[0])), bits);
        y = V::multiply(V::add(y, V::all(-by.zero_points[1])), bits);
        const auto first = V::scale(x, V::all(by.to_common[0].mantissa), V::all(by.to_common[0].right));
        const auto second = V::scale(y, V::all(by.to_common[1].mantissa), V::all(by.to_common[1].right));
        return V::scale(V::add(first, second), V::all(by.to_made.mantissa), V::all(by.to_made.right));
    });
}

template <class V>
void multiply_bytes(const ByteCombination& by, const std::int8_t* a, const std::int8_t* b, std::int8_t* out,
                    std::size_t count) {
    const auto minus_a = V::all(-by.zero_points[0]), minus_b = V::all(-by.zero_points[1]);
    if constexpr (V::has_reals) {
        if (by.in_reals) {
            const Rounding<V> rounding(Direction::to_zero);
            const auto factor = V::all(by.factors[0]), half = V::all(by.half);
            return combine<V>(by, a, b, out, count, [&](typename V::Ints x, typename V::Ints y) {
                return V::signed_real(V::multiply(V::add(x, minus_a), V::add(y, minus_b)), factor, half);
            });
        }
    }
    combine<V>(by, a, b, out, count, [&](typename V::Ints x, typename V::Ints y) {
        const auto product = V::multiply(V::add(x, minus_a), V::add(y, minus_b));
        return V::scale(product, V::all(by.to_made.mantissa), V::all(by.to_made.right));
    });
}

/// The quantities of numbers that are packed at once.
template <class V>
auto quantized(const float* in, float scale, const typename V::Bounds& bounds) {
    typename V::Ints numbers[V::packed_panels * vectors<V>];
    V::to_panels(numbers, in, V::all(scale));
    return V::template packed<Packing::without_zero_point>(numbers, bounds);
}

template <class V>
void quantize(const float* in, float scale, int zero_point, std::int8_t* out, std::size_t count) {
    const auto bounds = V::bounds(zero_point, -128, 127);
    constexpr int N = V::packed_panels * vectors<V>, at_once = N * V::width;
    for (std::size_t i = 0; i < count; i += at_once) {
        const int now = left(count - i, at_once);
        if (now < at_once) {  // the input may be the caller's memory, without guard bytes
            float rest[at_once] = {};
            __builtin_memcpy(rest, in + i, sizeof(float) * static_cast<std::size_t>(now));
            V::template store<V::packed_panels>(out + i, quantized<V>(rest, scale, bounds), 0, now);
        } else {
            V::template store<V::packed_panels>(out + i, quantized<V>(in + i, scale, bounds), 0, now);
        }
    }
}

template <class V>
void quantize_colors(const float* const* planes, float scale, int zero_point, std::int8_t* out, std::size_t count) {
    constexpr std::size_t at_once = 64;
    if constexpr (requires { V::store_colors; }) {
        if (count >= at_once) {
            const auto bounds = V::bounds(zero_point, lowest, highest);
            for (std::size_t i = 0; i < count; i += at_once) {
                const std::size_t at = i + at_once <= count ? i : count - at_once;  // the last ones overlap those before
                V::store_colors(out + 3 * at, quantized<V>(planes[0] + at, scale, bounds),
                                quantized<V>(planes[1] + at, scale, bounds), quantized<V>(planes[2] + at, scale, bounds));
            }
            return;
        }
    }
    for (std::size_t i = 0; i < count; i += at_once) {
        const int pixels = left(count - i, at_once);
        std::int8_t colors[3][at_once];
        for (int c = 0; c < 3; ++c) quantize<V>(planes[c] + i, scale, zero_point, colors[c], static_cast<std::size_t>(pixels));
        V::interleave(colors[0], colors[1], colors[2], out + 3 * i, pixels);
    }
}

template <class V>
void add_up(const std::int8_t* in, std::size_t stride, int places, std::int32_t* sums, int count) {
    constexpr int N = V::packed_panels * vectors<V>, at_once = N * V::width;
    for (int c = 0; c < count; c += at_once) {
        typename V::Ints totals[N];
        UNROLLED
        for (int j = 0; j < N; ++j) totals[j] = V::load(sums + c + j * V::width);
        for (int i = 0; i < places; ++i) {
            typename V::Ints numbers[N];
            V::load(numbers, in + static_cast<std::size_t>(i) * stride + c);
            UNROLLED
            for (int j = 0; j < N; ++j) totals[j] = V::add(totals[j], numbers[j]);
        }
        UNROLLED
        for (int j = 0; j < N; ++j) V::store(sums + c + j * V::width, totals[j]);
    }
}

/// Sums in the order of `add_up`, minus a number, rescaled.
template <class V>
void finish_sums(const std::int32_t* sums, std::int32_t less, Factor by, int zero_point, std::int8_t* out, int count) {
    constexpr int N = V::packed_panels * vectors<V>, at_once = N * V::width, most_right = 31;
    if (by.shift > 0 || by.shift < -most_right) {
        for (int i = 0; i < count; ++i) {
            const std::int64_t sum = sums[i / panel * panel + V::place(i % panel)];
            out[i] = to_byte(scaled(sum - less, by) + zero_point);
        }
        return;
    }
    const auto bounds = V::bounds(zero_point, lowest, highest);
    for (int c = 0; c < count; c += at_once) {
        typename V::Ints made[N];
        UNROLLED
        for (int j = 0; j < N; ++j)
            made[j] = V::scale(V::add(V::load(sums + c + j * V::width), V::all(-less)), V::all(by.mantissa), V::all(-by.shift));
        V::template store<V::packed_panels>(out + c, V::template packed<Packing::without_zero_point>(made, bounds), 0,
                                            smaller(count - c, at_once));
    }
}

template <class V>
void add_floats(const float* a, const float* b, float* out, std::size_t count, Clip clip) {
    each_vector<V>(
        count, [&](std::size_t i, int n) { V::store(out + i, clipped<V>(V::add(V::load(a + i), V::load(b + i)), clip), n); });
}

template <class V>
void multiply_floats(const float* a, const float* b, float* out, std::size_t count) {
    each_vector<V>(count, [&](std::size_t i, int n) { V::store(out + i, V::multiply(V::load(a + i), V::load(b + i)), n); });
}

}  // namespace mobilenets
