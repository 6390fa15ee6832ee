// The table of functions of one instruction set, whose header of `simd/` defines `V`.
#pragma once

#include "depthwise.hpp"
#include "depthwise_bytes.hpp"

namespace mobilenets {

template <class V, typename Of>
void each_vector(std::size_t count, const Of& of) {
    for (std::size_t i = 0; i < count; i += V::width) of(i, static_cast<int>(count - i < V::width ? count - i : V::width));
}

static inline int left(std::size_t count, int most) {
    return count < static_cast<std::size_t>(most) ? static_cast<int>(count) : most;
}

/// Combines two rows of bytes, as many panels at a time as are packed at once: `of(sums, a, b)` makes the sums or products,
/// before they are brought to their scale.
template <class V, typename Of>
void combine(const ByteCombination& by, const std::int8_t* a, const std::int8_t* b, std::int8_t* out, std::size_t count,
             const Of& of) {
    constexpr int N = V::packed_panels * vectors<V>, at_once = N * V::width;
    const auto bounds = V::bounds(by.zero_point, by.low, by.high);
    for (std::size_t i = 0; i < count; i += at_once) {
        typename V::Ints first[N], second[N];
        V::load(first, a + i);
        V::load(second, b + i);
        UNROLLED
        for (int j = 0; j < N; ++j) {
            const auto x = V::add(first[j], V::all(-by.zero_points[0])), y = V::add(second[j], V::all(-by.zero_points[1]));
            first[j] = V::scale(of(x, y), V::all(by.to_made.mantissa), V::all(by.to_made.right));
        }
        V::template store<V::packed_panels>(out + i, V::packed(first, bounds), 0, left(count - i, at_once));
    }
}

template <class V>
void add_bytes(const ByteCombination& by, const std::int8_t* a, const std::int8_t* b, std::int8_t* out, std::size_t count) {
    const auto bits = V::all(1 << ByteCombination::bits);
    combine<V>(by, a, b, out, count, [&](typename V::Ints x, typename V::Ints y) {
        const auto first = V::scale(V::multiply(x, bits), V::all(by.to_common[0].mantissa), V::all(by.to_common[0].right));
        return V::add(first, V::scale(V::multiply(y, bits), V::all(by.to_common[1].mantissa), V::all(by.to_common[1].right)));
    });
}

template <class V>
void multiply_bytes(const ByteCombination& by, const std::int8_t* a, const std::int8_t* b, std::int8_t* out,
                    std::size_t count) {
    combine<V>(by, a, b, out, count, [](typename V::Ints x, typename V::Ints y) { return V::multiply(x, y); });
}

template <class V>
void quantize(const float* in, float scale, int zero_point, std::int8_t* out, std::size_t count) {
    const auto bounds = V::bounds(zero_point, -128, 127);
    constexpr int N = V::packed_panels * vectors<V>, at_once = N * V::width;
    for (std::size_t i = 0; i < count; i += at_once) {
        typename V::Ints numbers[N];
        V::to_panels(numbers, in + i, V::all(scale), left(count - i, at_once));
        V::template store<V::packed_panels>(out + i, V::packed(numbers, bounds), 0, left(count - i, at_once));
    }
}

template <class V>
Kernels table() {
    using Cell = typename V::Cell;
    using Depthwise = DepthwiseBytes<V>;
    return {
        .name = V::name,
        .depth = V::depth,
        .cell_bytes = sizeof(Cell),
        .offset = V::offset,
        .pixels = V::pixels,
        .has_reals = V::has_reals,
        .place = [](int channel) { return V::place(channel); },
        .store_cell = [](void* cells, std::size_t i,
                         std::int8_t weight) { static_cast<Cell*>(cells)[i] = static_cast<Cell>(weight); },
        .depthwise_parts = Depthwise::parts,
        .depthwise_place = Depthwise::place,
        .depthwise_size = Depthwise::bytes,
        .pack_depthwise = Depthwise::pack,
        .sum_floats = sum_floats<V>,
        .sum_bytes = sum_bytes<V>,
        .to_cells = [](void* cells, std::size_t at, const std::int8_t* from,
                       int count) { V::to_cells(static_cast<Cell*>(cells) + at, from, count); },
        .depthwise_floats = depthwise_floats<V>,
        .depthwise_bytes = Depthwise::compute,
        .add_floats =
            [](const float* a, const float* b, float* out, std::size_t count, Clip clip) {
                each_vector<V>(count, [&](std::size_t i, int n) {
                    V::store(out + i, clipped<V>(V::add(V::load(a + i), V::load(b + i)), clip), n);
                });
            },
        .multiply_floats =
            [](const float* a, const float* b, float* out, std::size_t count) {
                each_vector<V>(
                    count, [&](std::size_t i, int n) { V::store(out + i, V::multiply(V::load(a + i), V::load(b + i)), n); });
            },
        .add_bytes = add_bytes<V>,
        .multiply_bytes = multiply_bytes<V>,
        .quantize = quantize<V>,
    };
}

}  // namespace mobilenets
