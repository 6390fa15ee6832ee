// The table of functions of one instruction set, whose header of `simd/` defines `V`.
#pragma once

#include "direct.hpp"
#include "kernels.hpp"

namespace mobilenets {

template <class V>
Kernels table() {
    using Cell = typename V::Cell;
    using Depthwise = DepthwiseBytes<V>;
    using Calls = Direct<V>;
    return {
        .name = V::name,
        .depth = V::depth,
        .cell_bytes = sizeof(Cell),
        .offset = V::offset,
        .depthwise_offset = Depthwise::offset,
        .pixels = V::pixels,
        .has_reals = V::has_reals,
        .has_shrink = V::has_shrink,
        .rounds_down = requires { typename V::Rounding; },
        .has_float_sums = V::has_float_sums,
        .place = Calls::place,
        .pack_weights =
            [](const std::int8_t* weights, int count, int channel, void* to) {
                Cell* cells = static_cast<Cell*>(to) + V::place(channel) * V::depth;
                for (int k = 0; k < count; ++k)
                    cells[k / V::depth * panel * V::depth + k % V::depth] = static_cast<Cell>(weights[k]);
            },
        .depthwise_parts = Depthwise::parts,
        .depthwise_rows = Depthwise::rows_at_once,
        .depthwise_float_rows = float_rows_at_once,
        .depthwise_place = Depthwise::place,
        .depthwise_size = Depthwise::bytes,
        .pack_depthwise = Depthwise::pack,
        .sum_floats = Calls::sum_floats,
        .sum_bytes = Calls::sum_bytes,
        .to_cells = Calls::to_cells,
        .fill_cells = Calls::fill_cells,
        .depthwise_floats = Calls::depthwise_floats,
        .depthwise_bytes = Calls::depthwise_bytes,
        .add_floats = Calls::add_floats,
        .multiply_floats = Calls::multiply_floats,
        .add_bytes = Calls::add_bytes,
        .multiply_bytes = Calls::multiply_bytes,
        .quantize = Calls::quantize,
        .quantize_colors = quantize_colors<V>,
        .look_up = Calls::look_up,
        .add_up = Calls::add_up,
        .finish_sums = Calls::finish_sums,
        .halves = nullptr,
    };
}

}  // namespace mobilenets
