// The table of functions of one instruction set, whose header of `simd/` defines `V`.
#pragma once

#include "depthwise.hpp"

namespace mobilenets {

template <class V, typename Of>
void each_vector(std::size_t count, const Of& of) {
    for (std::size_t i = 0; i < count; i += V::width) of(i, static_cast<int>(count - i < V::width ? count - i : V::width));
}

template <class V>
Kernels table() {
    using Cell = typename V::Cell;
    return {
        .name = V::name,
        .depth = V::depth,
        .cell_bytes = sizeof(Cell),
        .tap_cells = V::tap_cells,
        .place = [](int channel) { return V::place(channel); },
        .tap_place = [](int channel, int tap) { return V::tap_place(channel, tap); },
        .store_cell = [](void* cells, std::size_t i, std::int8_t weight) { static_cast<Cell*>(cells)[i] = weight; },
        .sum_floats = sum_floats<V>,
        .sum_bytes = sum_bytes<V>,
        .to_cells = [](void* cells, std::size_t at, const std::int8_t* from, int count) { V::to_cells(static_cast<Cell*>(cells) + at, from, count); },
        .depthwise_floats = depthwise_floats<V>,
        .depthwise_bytes = depthwise_bytes<V>,
        .add_floats = [](const float* a, const float* b, float* out, std::size_t count, Clip clip) {
            each_vector<V>(count, [&](std::size_t i, int n) { V::store(out + i, clipped<V>(V::add(V::load(a + i), V::load(b + i)), clip), n); });
        },
        .multiply_floats = [](const float* a, const float* b, float* out, std::size_t count) {
            each_vector<V>(count, [&](std::size_t i, int n) { V::store(out + i, V::multiply(V::load(a + i), V::load(b + i)), n); });
        },
    };
}

}  // namespace mobilenets
