#include <array>
#include <cmath>
#include <cstdlib>

#include "../arithmetic.hpp"
#include "../errors.hpp"
#include "step.hpp"

namespace mobilenets {

Span window_rows(Span rows, int stride, int top, int reach, int height) {
    const auto clamped = [height](std::int64_t row) { return static_cast<int>(std::clamp<std::int64_t>(row, 0, height)); };
    const std::int64_t from = std::int64_t{rows.from} * stride - top;
    const std::int64_t to = (std::int64_t{rows.to} - 1) * stride - top + reach;
    return {clamped(from), std::max(clamped(from), clamped(to))};
}

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

float curve_of(Curve curve, float x) {
    const auto relu6 = [](float y) { return std::min(std::max(y, 0.0F), 6.0F); };
    constexpr float sixth = 1.0F / 6;
    switch (curve) {
        case Curve::linear: return x;
        case Curve::relu: return std::max(x, 0.0F);
        case Curve::relu6: return relu6(x);
        case Curve::hard_swish: return x * relu6(x + 3) * sixth;
        case Curve::hard_sigmoid: return relu6(x + 3) * sixth;
        case Curve::sigmoid: {
            const float small = std::exp(-std::abs(x));  // never overflows
            return x >= 0 ? 1 / (1 + small) : small / (1 + small);
        }
        case Curve::gelu:
            return static_cast<float>(static_cast<double>(x * 0.5F) * (1 + std::erf(static_cast<double>(x) / std::sqrt(2.0))));
    }
    return x;
}

bool is_applied_by_kernels(Curve curve) { return curve != Curve::sigmoid && curve != Curve::gelu; }

Clip clip_of(Curve curve) {
    switch (curve) {
        case Curve::relu: return Clip::relu;
        case Curve::relu6: return Clip::relu6;
        case Curve::hard_swish: return Clip::hard_swish;
        case Curve::hard_sigmoid: return Clip::hard_sigmoid;
        default: return Clip::none;
    }
}

Made make_step(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    using Maker = Made (*)(const Graph&, const Operator&, const Kernels&);
    struct Makers {
        Maker floats, bytes;
    };
    static constexpr std::array<Makers, kind_names.size()> makers{{
        {make_float_conv, make_byte_conv},
        {make_float_depthwise, make_byte_depthwise},
        {make_float_conv, make_byte_conv},  // dense: a pointwise convolution of one place
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
