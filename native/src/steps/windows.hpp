// Functions that all convolutions of the engine share.
#pragma once

#include "../operators/convolution.hpp"
#include "step.hpp"

namespace mobilenets {

/// How the window of an operator moves over a feature map; a single pixel and tap for a linear layer.
inline Window window_of(const Graph& graph, const Operator& operation) {
    const Value& read = graph.input(operation);
    const Shape& filters = graph.tensor(operation.weight).shape;
    Window window;
    window.height = read.height(), window.width = read.width(), window.channels = read.channels();
    window.out_width = graph.output(operation).width();
    if (filters.size() != 4) return window;
    window.kernel_height = static_cast<int>(filters[2]), window.kernel_width = static_cast<int>(filters[3]);
    window.stride_down = operation.stride[0], window.stride_across = operation.stride[1];
    window.dilation_down = operation.dilation[0], window.dilation_across = operation.dilation[1];
    window.top = operation.padding[0], window.left = operation.padding[2];
    window.pointwise = window.is_one_tap() && operation.stride == Pair{1, 1} && operation.padding == std::array<int, 4>{};
    return window;
}

/// Whether a value is stored as cells, which saves its readers the conversion: the output of a depthwise convolution that
/// pointwise ones read, if its pixels are whole cells.
inline bool is_made_as_cells(const Graph& graph, int value, const Kernels& kernels) {
    if (kernels.cell_bytes != 1 || kernels.depthwise_offset == 0) return false;
    const auto is_it = [&](int other) { return graph.values[index(other)].source == value; };
    for (const Output& output : graph.outputs) {
        if (is_it(output.value)) return false;
    }
    bool is_made = false;
    for (const Operator& operation : graph.operators) {
        is_made = is_made || (operation.outputs[0] == value && operation.kind == Kind::depthwise &&
                              graph.input(operation).quantized() && graph.output(operation).quantized());
        if (std::none_of(operation.inputs.begin(), operation.inputs.end(), is_it)) continue;
        if (operation.kind != Kind::conv || operation.inputs[0] != value) return false;
        const Window window = window_of(graph, operation);
        if (!window.pointwise || window.channels % kernels.depth != 0) return false;
    }
    return is_made;
}

class Convolution : public Step {
public:
    Convolution(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : window_(window_of(graph, operation)), kernels_(kernels), outputs_(graph.output(operation).channels()) {}

    Span needed(std::size_t, Span rows) const override { return window_.needed(rows); }
    int panels() const override { return panels_of(outputs_); }

protected:
    Window window_;
    const Kernels& kernels_;
    int outputs_;
};

}  // namespace mobilenets
