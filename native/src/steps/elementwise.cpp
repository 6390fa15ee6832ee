// Elementwise operators: activations, and conversions between floats and integers.
#include <algorithm>

#include "byte_curves.hpp"

namespace mobilenets {
namespace {

ByteCurve rescaled_curve(const Value& read, const Value& made, Curve curve) {
    const Factor by = factor(static_cast<double>(read.scale()) / static_cast<double>(made.scale()));
    const ByteBounds bounds = byte_bounds(curve, made.quantization);
    return byte_curve([&](int number) {
        return to_byte(scaled(number - read.zero_point(), by) + made.zero_point(), bounds.low, bounds.high);
    });
}

/// relu6(x + 3) at six times the output scale: at the output scale, the same integers represent a sixth of it.
ByteCurve hard_sigmoid_curve(const Value& read, const Value& made) {
    constexpr float three = 3.0F / highest;  // the scale at which the largest integer represents 3
    const Quantization six_times{{static_cast<float>(6.0 * static_cast<double>(made.scale()))}, made.zero_point()};
    const ByteSum sum(read.scale(), read.zero_point(), three, 0, six_times, Curve::relu6);
    return byte_curve([&](int number) { return sum.of(static_cast<std::int8_t>(number), highest); });
}

/// Whether an activation's output is only read by products that are tables of their own.
bool is_never_read(const Graph& graph, const Operator& activation) {
    return readers(graph, activation.outputs[0]) ==
           std::count_if(graph.operators.begin(), graph.operators.end(), [&](const Operator& other) {
               return other.kind == Kind::multiply && own_gate(graph, other) == &activation;
           });
}

class Quantize final : public Step {
public:
    Quantize(const Value& made, const Kernels& kernels)
        : kernels_(kernels),
          numbers_(row_numbers(made)),
          channels_(made.channels()),
          scale_(made.scale()),
          zero_point_(made.zero_point()) {}

    Span needed(std::size_t, Span rows) const override { return rows; }

    void compute(const Job& job) const override {
        for (int y = job.rows.from; y < job.rows.to; ++y) compute_row(job, y);
    }

private:
    void compute_row(const Job& job, int y) const {
        const Rows& in = job.inputs[0];
        auto* out = job.outputs[0].numbers<std::int8_t>(y);
        if (in.plane_bytes == 0) return kernels_.quantize(in.numbers<float>(y), scale_, zero_point_, out, numbers_);
        const std::size_t columns = numbers_ / static_cast<std::size_t>(channels_);
        const auto plane = [&](int c) {
            return reinterpret_cast<const float*>(in.at(y) + static_cast<std::size_t>(c) * in.plane_bytes);
        };
        if (channels_ == 1) return kernels_.quantize(plane(0), scale_, zero_point_, out, numbers_);
        if (channels_ == 3) {
            const float* planes[] = {plane(0), plane(1), plane(2)};
            return kernels_.quantize_colors(planes, scale_, zero_point_, out, columns);
        }
        for (int c = 0; c < channels_; ++c) {
            const float* numbers = plane(c);
            for (std::size_t x = 0; x < columns; ++x)
                out[x * static_cast<std::size_t>(channels_) + static_cast<std::size_t>(c)] =
                    quantized(numbers[x], scale_, zero_point_);
        }
    }

    const Kernels& kernels_;
    std::size_t numbers_;  // of a row
    int channels_;
    float scale_;
    int zero_point_;
};

}  // namespace

ByteCurve curve_of(const Graph& graph, const Operator& activation) {
    const Value &read = graph.input(activation), &made = graph.output(activation);
    if (activation.curve == Curve::relu || activation.curve == Curve::relu6)
        return rescaled_curve(read, made, activation.curve);
    if (activation.curve == Curve::hard_sigmoid) return hard_sigmoid_curve(read, made);
    return byte_curve([&](int number) {
        const float real = read.scale() * static_cast<float>(number - read.zero_point());
        return quantized(curve_of(activation.curve, real), made.scale(), made.zero_point());
    });
}

const Operator* own_gate(const Graph& graph, const Operator& product) {
    const auto is_gate = [&](const Operator& other) {
        return other.kind == Kind::activation && other.outputs[0] == product.inputs[1] && other.inputs[0] == product.inputs[0];
    };
    const auto found = std::find_if(graph.operators.begin(), graph.operators.end(), is_gate);
    return found == graph.operators.end() ? nullptr : &*found;
}

Made make_activation(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    const Value& made = graph.output(operation);
    if (!made.quantized())
        return std::make_unique<RowByRow<FloatActivation>>(FloatActivation{row_numbers(made), operation.curve}, kernels);
    if (is_never_read(graph, operation)) return std::make_unique<Unread>();
    return std::make_unique<ByteTableStep>(made, kernels, curve_of(graph, operation));
}

Made make_quantize(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    const Value &read = graph.input(operation), &made = graph.output(operation);
    if (read.quantized()) return std::make_unique<ByteTableStep>(made, kernels, rescaled_curve(read, made, Curve::linear));
    return std::make_unique<Quantize>(made, kernels);
}

Made make_dequantize(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    const Value& read = graph.input(operation);
    return std::make_unique<RowByRow<Dequantize>>(Dequantize{row_numbers(read), read.scale(), read.zero_point()}, kernels);
}

}  // namespace mobilenets
