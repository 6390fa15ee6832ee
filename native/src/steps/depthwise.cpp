// Depthwise convolutions, row by row.
#include <cstring>
#include <vector>

#include "step.hpp"

namespace mobilenets {
namespace {

class Depthwise : public Step {
public:
    Depthwise(const Graph& graph, const Operator& operation, const Kernels& kernels) : kernels_(kernels) {
        const Value& read = graph.input(operation);
        const Shape& filters = graph.tensor(operation.weight).shape;
        height_ = read.height();
        stride_ = operation.stride[0], dilation_ = operation.dilation[0], top_ = operation.padding[0];
        row_.width = read.width(), row_.channels = read.channels();
        row_.out_width = graph.output(operation).width();
        row_.kernel_height = static_cast<int>(filters[2]), row_.kernel_width = static_cast<int>(filters[3]);
        row_.stride = operation.stride[1], row_.dilation = operation.dilation[1], row_.left = operation.padding[2];
        const std::size_t number = bytes_of(read.number);
        missing_ = Buffer(static_cast<std::size_t>(row_.width * row_.channels) * number);
        if (read.quantized()) std::memset(missing_.data(), read.zero_point(), missing_.bytes());
        row_.missing = missing_.data();
    }

    Span needed(std::size_t, Span rows) const override {
        return window_rows(rows, stride_, top_, dilation_ * (row_.kernel_height - 1) + 1, height_);
    }
    int panels() const override { return panels_of(row_.channels); }
    std::size_t scratch_bytes() const override {
        return (static_cast<std::size_t>(row_.kernel_height + most_rows_ - 1) +
                static_cast<std::size_t>(tap_room(static_cast<int>(taps())))) *
               sizeof(std::byte*);
    }

    void compute(const Job& job) const override {
        auto** rows = reinterpret_cast<const std::byte**>(job.scratch);
        DepthwiseRow row = row_;
        row.rows = rows;
        row.taps = rows + row.kernel_height + most_rows_ - 1;
        row.panels = job.panels;
        for (int y = job.rows.from; y < job.rows.to; y += row.out_rows) {
            row.out_rows = std::min(rows_at_once_, job.rows.to - y);
            for (int ky = 0; ky < row.kernel_height + row.out_rows - 1; ++ky) {
                const int from = y * stride_ - top_ + ky * dilation_;
                rows[ky] = from < 0 || from >= height_ ? row.missing : job.inputs[0].at(from);
            }
            std::byte* outs[most_rows_] = {};
            for (int r = 0; r < row.out_rows; ++r) outs[r] = job.outputs[0].at(y + r);
            compute_rows(row, outs);
        }
    }

protected:
    virtual void compute_rows(const DepthwiseRow& row, std::byte* const* outs) const = 0;
    bool moves_by_one() const { return stride_ == 1 && dilation_ == 1; }
    std::size_t taps() const { return static_cast<std::size_t>(row_.kernel_height * row_.kernel_width); }

    static constexpr int most_rows_ = 2;
    const Kernels& kernels_;
    DepthwiseRow row_;
    int rows_at_once_ = 1;

private:
    int height_ = 1, stride_ = 1, dilation_ = 1, top_ = 0;
    Buffer missing_;
};

class FloatDepthwise final : public Depthwise {
public:
    FloatDepthwise(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : Depthwise(graph, operation, kernels),
          curve_(operation.curve),
          reads_(graph.input(operation).number),
          makes_(graph.output(operation).number) {
        const auto weights = graph.tensor(operation.weight).copied<float>();
        const auto bias = graph.tensor(operation.bias).copied<float>();
        const auto panels = static_cast<std::size_t>(panels_of(row_.channels));
        packed_ = buffer_of<float>(panels * taps() * panel);
        bias_ = buffer_of<float>(panels * panel);
        for (std::size_t c = 0; c < bias.size(); ++c) {
            bias_.as<float>()[c] = bias[c];
            float* to = packed_.as<float>() + c / panel * taps() * panel + c % panel;
            for (std::size_t tap = 0; tap < taps(); ++tap) to[tap * panel] = weights[c * taps() + tap];
        }
        if (moves_by_one()) rows_at_once_ = kernels.depthwise_float_rows(row_);
        by_.outputs = row_.channels, by_.inner = static_cast<int>(taps());
        by_.panels = packed_.as<float>(), by_.bias = bias_.as<float>(), by_.clip = clip_of(operation.curve);
    }

private:
    void compute_rows(const DepthwiseRow& row, std::byte* const* outs) const override {
        if (makes_ == Number::bfloat16)
            return kernels_.halves->depthwise_to_halves(by_, row, reinterpret_cast<Half* const*>(outs));
        auto* const* numbers = reinterpret_cast<float* const*>(outs);
        (reads_ == Number::bfloat16 ? kernels_.halves->depthwise_to_floats : kernels_.depthwise_floats)(by_, row, numbers);
        if (is_applied_by_kernels(curve_)) return;
        const int last = std::min(row.panels.to * panel, row.channels);
        for (int i = 0; i < row.out_rows * row.out_width; ++i) {
            float* place = numbers[i / row.out_width] + i % row.out_width * row.channels;
            for (int c = row.panels.from * panel; c < last; ++c) place[c] = curve_of(curve_, place[c]);
        }
    }

    Curve curve_;
    Number reads_, makes_;
    Buffer packed_, bias_;
    FloatWeights by_;
};

class ByteDepthwise final : public Depthwise {
public:
    ByteDepthwise(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : Depthwise(graph, operation, kernels), scales_(graph, operation, kernels, place_of), by_(scales_.weights) {
        const auto weights = graph.tensor(operation.weight).copied<std::int8_t>();
        packed_ = Buffer(kernels.depthwise_size(row_.channels, row_.kernel_height, row_.kernel_width));
        kernels.pack_depthwise(weights.data(), row_.channels, row_.kernel_height, row_.kernel_width, packed_.data());
        by_.panels = packed_.data();
        by_.inner = static_cast<int>(taps());
        if (moves_by_one()) rows_at_once_ = kernels.depthwise_rows(row_);
    }

    int panels() const override { return kernels_.depthwise_parts(row_.channels); }

private:
    static int place_of(int channel, int channels, const Kernels& kernels) {
        return kernels.depthwise_place(channel, channels);
    }
    void compute_rows(const DepthwiseRow& row, std::byte* const* outs) const override {
        kernels_.depthwise_bytes(by_, row, reinterpret_cast<std::int8_t* const*>(outs));
    }

    ByteScales scales_;
    ByteWeights by_;
    Buffer packed_;
};

}  // namespace

Made make_float_depthwise(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    return std::make_unique<FloatDepthwise>(graph, operation, kernels);
}

Made make_byte_depthwise(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    return std::make_unique<ByteDepthwise>(graph, operation, kernels);
}

}  // namespace mobilenets
