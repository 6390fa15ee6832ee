// Depthwise convolutions: weights are packed when a file is opened.
#include "../operators/depthwise.hpp"

#include <cstring>

#include "windows.hpp"

namespace mobilenets {
namespace {

class Depthwise : public Step {
public:
    Depthwise(const Graph& graph, const Operator& operation, const Kernels& kernels) : kernels_(kernels) {
        const Value& read = graph.input(operation);
        const Shape& filters = graph.tensor(operation.weight).shape;
        window_.height = read.height();
        window_.stride = operation.stride[0], window_.dilation = operation.dilation[0], window_.top = operation.padding[0];
        DepthwiseRow& row = window_.row;
        row.width = read.width(), row.channels = read.channels();
        row.out_width = graph.output(operation).width();
        row.kernel_height = static_cast<int>(filters[2]), row.kernel_width = static_cast<int>(filters[3]);
        row.stride = operation.stride[1], row.dilation = operation.dilation[1], row.left = operation.padding[2];
        const std::size_t number = bytes_of(read.number);
        missing_ = Buffer(static_cast<std::size_t>(row.width * row.channels) * number);
        if (read.quantized()) std::memset(missing_.data(), read.zero_point(), missing_.bytes());
        row.missing = missing_.data();
    }

    Span needed(std::size_t, Span rows) const override { return window_.needed(rows); }
    int panels() const override { return panels_of(window_.row.channels); }
    std::size_t scratch_bytes() const override { return window_.scratch_bytes(); }

protected:
    std::size_t taps() const { return index(window_.taps()); }

    const Kernels& kernels_;
    DepthwiseWindow window_;

private:
    Buffer missing_;
};

class FloatDepthwiseStep final : public Depthwise {
public:
    FloatDepthwiseStep(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : Depthwise(graph, operation, kernels), reads_(graph.input(operation).number), makes_(graph.output(operation).number) {
        const auto weights = graph.tensor(operation.weight).copied<float>();
        const auto bias = graph.tensor(operation.bias).copied<float>();
        const auto panels = static_cast<std::size_t>(panels_of(window_.row.channels));
        packed_ = buffer_of<float>(panels * taps() * panel);
        bias_ = buffer_of<float>(panels * panel);
        for (std::size_t c = 0; c < bias.size(); ++c) {
            bias_.as<float>()[c] = bias[c];
            float* to = packed_.as<float>() + c / panel * taps() * panel + c % panel;
            for (std::size_t tap = 0; tap < taps(); ++tap) to[tap * panel] = weights[c * taps() + tap];
        }
        if (window_.moves_by_one()) window_.rows_at_once = kernels.depthwise_float_rows(window_.row);
        FloatWeights by;
        by.outputs = window_.row.channels, by.inner = static_cast<int>(taps());
        by.panels = packed_.as<float>(), by.bias = bias_.as<float>(), by.clip = clip_of(operation.curve);
        if (reads_ == Number::bfloat16) {
            const HalfKernels& halves = *kernels.halves;
            const Buffer rounded = buffer_of<Half>(weights.size());
            halves.to_halves(weights.data(), rounded.as<Half>(), static_cast<int>(weights.size()));
            pairs_ = buffer_of<Half>(halves.depthwise_size(by.outputs, window_.row.kernel_width));
            if (window_.row.kernel_height == window_.row.kernel_width)
                halves.pack_depthwise(rounded.as<Half>(), by.outputs, window_.row.kernel_width, pairs_.as<Half>());
            by.halves = pairs_.data();
        }
        of_ = {window_, by, operation.curve};
    }

    void compute(const Job& job) const override {
        if (reads_ == Number::float32 && makes_ == Number::float32) return of_.compute(kernels_, job);
        window_.each_row(job, [&](const DepthwiseRow& row, std::byte* const* outs) {
            if (makes_ == Number::bfloat16)
                return kernels_.halves->depthwise_to_halves(of_.by, row, reinterpret_cast<Half* const*>(outs));
            auto* const* numbers = reinterpret_cast<float* const*>(outs);
            (reads_ == Number::bfloat16 ? kernels_.halves->depthwise_to_floats : kernels_.depthwise_floats)(of_.by, row,
                                                                                                            numbers);
            finish_row(of_.curve, row, numbers);
        });
    }

private:
    Number reads_, makes_;
    Buffer packed_, bias_, pairs_;
    FloatDepthwise of_;
};

class ByteDepthwiseStep final : public Depthwise {
public:
    ByteDepthwiseStep(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : Depthwise(graph, operation, kernels), scales_(graph, operation, kernels, place_of, kernels.depthwise_offset) {
        const auto weights = graph.tensor(operation.weight).copied<std::int8_t>();
        const DepthwiseRow& row = window_.row;
        packed_ = Buffer(kernels.depthwise_size(row.channels, row.kernel_height, row.kernel_width));
        kernels.pack_depthwise(weights.data(), row.channels, row.kernel_height, row.kernel_width, packed_.data());
        if (window_.moves_by_one()) window_.rows_at_once = kernels.depthwise_rows(row);
        of_ = {window_, scales_.weights};
        of_.by.panels = packed_.data();
        of_.by.inner = static_cast<int>(taps());
        of_.by.makes_cells = is_made_as_cells(graph, operation.outputs[0], kernels);
    }

    int panels() const override { return kernels_.depthwise_parts(window_.row.channels); }
    void compute(const Job& job) const override { of_.compute(kernels_, job); }

private:
    static int place_of(int channel, int channels, const Kernels& kernels) {
        return kernels.depthwise_place(channel, channels);
    }

    ByteScales scales_;
    Buffer packed_;
    ByteDepthwise of_;
};

}  // namespace

Made make_float_depthwise(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    return std::make_unique<FloatDepthwiseStep>(graph, operation, kernels);
}

Made make_byte_depthwise(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    return std::make_unique<ByteDepthwiseStep>(graph, operation, kernels);
}

}  // namespace mobilenets
