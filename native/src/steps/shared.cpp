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

ByteScales::ByteScales(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    const Tensor& tensor = graph.tensor(operation.weight);
    const auto numbers = tensor.copied<std::int8_t>();
    const auto biases = graph.tensor(operation.bias).copied<std::int32_t>();
    const auto& scales = graph.weight_quantization.at(operation.weight).scales;
    const Value& read = graph.input(operation);
    const Value& made = graph.output(operation);
    const auto outputs = biases.size(), inner = numbers.size() / outputs;
    const auto padded = static_cast<std::size_t>(panels_of(static_cast<int>(outputs))) * panel;
    bias = buffer_of<std::int32_t>(padded);
    mantissas = buffer_of<std::int32_t>(padded);
    lefts = buffer_of<std::int32_t>(padded);
    rights = buffer_of<std::int32_t>(padded);
    halves = buffer_of<std::int32_t>(padded);
    bool any_left = false, all_shrink = true;
    for (std::size_t o = 0; o < outputs; ++o) {
        std::int64_t sum = 0, reach = 0;
        for (std::size_t k = 0; k < inner; ++k) {
            sum += numbers[o * inner + k];
            reach += std::abs(numbers[o * inner + k]);
        }
        if (std::abs(std::int64_t{biases[o]}) + 255 * reach > INT32_MAX)
            throw GraphError("'" + operation.name + "' has sums that do not fit into 32 bits");
        const double real = static_cast<double>(read.scale()) * static_cast<double>(scales[scales.size() == 1 ? 0 : o]) /
                            static_cast<double>(made.scale());
        const Factor by = factor(real);
        const auto at = o / panel * panel + static_cast<std::size_t>(kernels.place(static_cast<int>(o % panel)));
        bias.as<std::int32_t>()[at] = static_cast<std::int32_t>(biases[o] - read.zero_point() * sum);
        mantissas.as<std::int32_t>()[at] = by.mantissa;
        lefts.as<std::int32_t>()[at] = std::clamp(by.shift, 0, 31);
        rights.as<std::int32_t>()[at] = std::clamp(-by.shift, 0, 31);
        halves.as<std::int32_t>()[at] = by.shift < 0 ? 1 << (std::min(-by.shift, 31) - 1) : 0;
        any_left = any_left || by.shift > 0;
        all_shrink = all_shrink && by.shift < 0;
    }
    const ByteBounds bounds = byte_bounds(operation.curve, made.quantization);
    weights.outputs = static_cast<int>(outputs);
    weights.bias = bias.as<std::int32_t>();
    weights.mantissas = mantissas.as<std::int32_t>();
    weights.lefts = any_left ? lefts.as<std::int32_t>() : nullptr;
    weights.rights = rights.as<std::int32_t>();
    weights.halves = all_shrink ? halves.as<std::int32_t>() : nullptr;
    weights.zero_point = made.zero_point();
    weights.low = bounds.low;
    weights.high = bounds.high;
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
    const Makers& kind = makers[static_cast<std::size_t>(operation.kind)];
    return (graph.input(operation).quantized() ? kind.bytes : kind.floats)(graph, operation, kernels);
}

}  // namespace mobilenets
