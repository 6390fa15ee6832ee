// Convolutions and linear layers: weights are packed when a file is opened.
#include <vector>

#include "windows.hpp"

namespace mobilenets {
namespace {

constexpr int chunk_bytes = 16 * 1024;  // of pixels that stay in the L1 cache

class FloatConvolutionStep final : public Convolution {
public:
    FloatConvolutionStep(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : Convolution(graph, operation, kernels), of_{window_, {}, operation.curve} {
        const auto weights = graph.tensor(operation.weight).copied<float>();
        const auto bias = graph.tensor(operation.bias).copied<float>();
        FloatWeights& by = of_.by;
        by.outputs = outputs_;
        by.stretches = window_.stretches(), by.inner = window_.numbers();
        by.clip = clip_of(operation.curve);
        const std::size_t panel_size = index(by.stretches * by.inner) * panel;
        packed_ = buffer_of<float>(index(panels()) * panel_size);
        bias_ = buffer_of<float>(index(panels()) * panel);
        for (int o = 0; o < outputs_; ++o) {
            bias_.as<float>()[o] = bias[index(o)];
            float* to = packed_.as<float>() + index(o / panel) * panel_size + o % panel;
            for (int s = 0; s < by.stretches; ++s) {
                for (int k = 0; k < by.inner; ++k, to += panel) *to = weights[window_.weight_index(o, s, k)];
            }
        }
        by.panels = packed_.as<float>();
        by.bias = bias_.as<float>();
    }

    std::size_t scratch_bytes() const override { return of_.scratch_bytes(); }
    void compute(const Job& job) const override { of_.compute(kernels_, job); }

private:
    FloatConvolution of_;
    Buffer packed_, bias_;
};

class ByteConvolutionStep final : public Convolution {
public:
    ByteConvolutionStep(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : Convolution(graph, operation, kernels),
          scales_(graph, operation, kernels, place_of, kernels.offset),
          of_{window_, scales_.weights, graph.input(operation).zero_point()} {
        of_.reads_cells = is_made_as_cells(graph, operation.inputs[0], kernels);
        const auto weights = graph.tensor(operation.weight).copied<std::int8_t>();
        const int depth = kernels.depth, numbers = window_.numbers();
        ByteWeights& by = of_.by;
        by.stretches = window_.stretches();
        by.inner = (numbers + depth - 1) / depth * depth;
        const std::size_t stretch = index(by.inner) * panel;
        packed_ = Buffer(index(panels() * by.stretches) * stretch * index(kernels.cell_bytes));
        std::vector<std::int8_t> row(index(numbers));
        for (int o = 0; o < outputs_; ++o) {
            for (int s = 0; s < by.stretches; ++s) {
                const std::int8_t* from = weights.data() + index(o) * index(numbers);
                if (!window_.is_one_tap()) {
                    for (int k = 0; k < numbers; ++k) row[index(k)] = weights[window_.weight_index(o, s, k)];
                    from = row.data();
                }
                std::byte* to = packed_.data() + index(o / panel * by.stretches + s) * stretch * index(kernels.cell_bytes);
                kernels.pack_weights(from, numbers, o % panel, to);
            }
        }
        by.panels = packed_.data();
        const int tile = 2 * kernels.pixels;
        of_.at_once = std::max(tile, static_cast<int>(chunk_bytes / of_.pixel_bytes(kernels)) / tile * tile);
    }

    std::size_t scratch_bytes() const override { return of_.scratch_bytes(kernels_); }
    void compute(const Job& job) const override { of_.compute(kernels_, job); }

private:
    static int place_of(int channel, int, const Kernels& kernels) {
        return channel / panel * panel + kernels.place(channel % panel);
    }

    ByteScales scales_;
    ByteConvolution of_;
    Buffer packed_;
};

}  // namespace

Made make_float_conv(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    return std::make_unique<FloatConvolutionStep>(graph, operation, kernels);
}

Made make_byte_conv(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    return std::make_unique<ByteConvolutionStep>(graph, operation, kernels);
}

}  // namespace mobilenets
