#include <array>
#include <cmath>
#include <cstdlib>

#include "../errors.hpp"
#include "step.hpp"

namespace mobilenets {

ByteBounds byte_bounds(Curve curve, const Quantization& made) {
    const auto knee = [&made](float at) {
        return std::clamp(
            static_cast<int>(std::clamp<std::int64_t>(rounded(static_cast<double>(at / made.scales[0])), -1000, 1000)) +
                made.zero_point,
            lowest, highest);
    };
    ByteBounds bounds;
    if (curve == Curve::relu || curve == Curve::relu6) bounds.low = knee(0);
    if (curve == Curve::relu6) bounds.high = knee(6);
    return bounds;
}

Made make_step(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    using Maker = Made (*)(const Graph&, const Operator&, const Kernels&);
    struct Makers {
        Maker floats, bytes;
    };
    static constexpr std::array<Makers, kind_names.size()> makers{{
        {make_float_conv, make_byte_conv},
        {make_float_depthwise, make_byte_depthwise},
        {make_float_conv, make_byte_conv},  // dense: a pointwise convolution of one pixel
        {make_add, make_add},
        {make_multiply, make_multiply},
        {make_pool, make_pool},
        {make_activation, make_activation},
        {make_resize, make_resize},
        {make_concat, make_concat},
        {make_rename, make_rename},
        {make_rename, make_rename},
        {make_rename, make_rename},
        {make_matmul, make_matmul},
        {make_softmax, make_softmax},
        {make_argmax, make_argmax},
        {make_boxes, make_boxes},
        {make_nms, make_nms},
        {make_quantize, make_quantize},
        {make_dequantize, make_dequantize},
    }};
    const bool makes_half = graph.output(operation).number == Number::bfloat16;
    const bool multiplies = operation.kind == Kind::conv || operation.kind == Kind::dense;
    if (graph.in_halves && multiplies && !graph.input(operation).quantized()) return make_half_conv(graph, operation, kernels);
    if (makes_half && operation.kind == Kind::add) return make_half_add(graph, operation, kernels);
    const Makers& kind = makers[static_cast<std::size_t>(operation.kind)];
    return (graph.input(operation).quantized() ? kind.bytes : kind.floats)(graph, operation, kernels);
}

}  // namespace mobilenets
