// Convolutions and linear layers. A pointwise one reads its pixels where they lie. For a larger one, the rows that its filters
// see are copied with their margins; what a filter sees is then a few stretches of numbers, as far apart for every pixel.
#include <cstring>
#include <vector>

#include "../arithmetic.hpp"
#include "windows.hpp"

namespace mobilenets {
namespace {

constexpr int chunk_bytes = 16 * 1024;  // of pixels that stay in the first cache

class FloatConvolution final : public Convolution {
public:
    FloatConvolution(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : Convolution(graph, operation, kernels), curve_(operation.curve) {
        const auto weights = graph.tensor(operation.weight).copied<float>();
        const auto bias = graph.tensor(operation.bias).copied<float>();
        by_.outputs = outputs_;
        by_.stretches = window_.stretches(), by_.inner = window_.numbers();
        by_.clip = clip_of(operation.curve);
        const std::size_t panel_size = index(by_.stretches * by_.inner) * panel;
        packed_ = buffer_of<float>(index(panels()) * panel_size);
        bias_ = buffer_of<float>(index(panels()) * panel);
        for (int o = 0; o < outputs_; ++o) {
            bias_.as<float>()[o] = bias[index(o)];
            float* to = packed_.as<float>() + index(o / panel) * panel_size + o % panel;
            for (int s = 0; s < by_.stretches; ++s) {
                for (int k = 0; k < by_.inner; ++k, to += panel) *to = weights[window_.weight_index(o, s, k)];
            }
        }
        by_.panels = packed_.as<float>();
        by_.bias = bias_.as<float>();
    }

    std::size_t scratch_bytes() const override { return window_.pointwise ? 0 : rows_bytes(sizeof(float)); }

    void compute(const Job& job) const override {
        if (window_.pointwise) {
            each_run(job, [&](int y, int rows) {
                const float* in = job.inputs[0].numbers<float>(y);
                finish(job, &in, index(by_.inner), rows * window_.out_width, job.outputs[0].numbers<float>(y));
            });
            return;
        }
        const auto copy = [](float* to, std::size_t at, const std::byte* from, int count) {
            if (from)
                std::memcpy(to + at, from, sizeof(float) * index(count));
            else
                std::fill_n(to + at, count, 0.0F);
        };
        each_row<float>(job, sizeof(float), copy, [&](int y, const float* const* starts, std::size_t stride) {
            finish(job, starts, stride, window_.out_width, job.outputs[0].numbers<float>(y));
        });
    }

private:
    void finish(const Job& job, const float* const* starts, std::size_t stride, int pixels, float* out) const {
        kernels_.sum_floats(by_, job.panels, starts, stride, pixels, out, index(outputs_));
        if (is_applied_by_kernels(curve_)) return;
        const int last = std::min(job.panels.to * panel, outputs_);
        for (int i = 0; i < pixels; ++i) {
            float* pixel = out + index(i) * index(outputs_);
            for (int c = job.panels.from * panel; c < last; ++c) pixel[c] = curve_of(curve_, pixel[c]);
        }
    }

    Curve curve_;
    Buffer packed_, bias_;
    FloatWeights by_;
};

class ByteConvolution final : public Convolution {
public:
    ByteConvolution(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : Convolution(graph, operation, kernels), scales_(graph, operation, kernels, place_of), by_(scales_.weights) {
        const auto weights = graph.tensor(operation.weight).copied<std::int8_t>();
        const int depth = kernels.depth, numbers = window_.numbers();
        by_.stretches = window_.stretches();
        by_.inner = (numbers + depth - 1) / depth * depth;
        const std::size_t stretch = index(by_.inner) * panel;
        packed_ = Buffer(index(panels() * by_.stretches) * stretch * index(kernels.cell_bytes));
        std::vector<std::int8_t> row(index(numbers));
        for (int o = 0; o < outputs_; ++o) {
            for (int s = 0; s < by_.stretches; ++s) {
                const std::int8_t* from = weights.data() + index(o) * index(numbers);
                if (!window_.is_one_tap()) {
                    for (int k = 0; k < numbers; ++k) row[index(k)] = weights[window_.weight_index(o, s, k)];
                    from = row.data();
                }
                std::byte* to = packed_.data() + index(o / panel * by_.stretches + s) * stretch * index(kernels.cell_bytes);
                kernels.pack_weights(from, numbers, o % panel, to);
            }
        }
        by_.panels = packed_.data();
        missing_ = Buffer(window_.pointwise ? 0 : window_.seen_numbers());
        if (!window_.pointwise) std::memset(missing_.data(), graph.input(operation).zero_point(), missing_.bytes());
    }

    std::size_t scratch_bytes() const override {
        return window_.pointwise ? index(at_once()) * pixel_bytes() + guard : rows_bytes(index(kernels_.cell_bytes));
    }

    void compute(const Job& job) const override {
        if (kernels_.cell_bytes == 1)
            compute_cells<std::uint8_t>(job);
        else
            compute_cells<std::int16_t>(job);
    }

private:
    static int place_of(int channel, int, const Kernels& kernels) {
        return channel / panel * panel + kernels.place(channel % panel);
    }
    std::size_t pixel_bytes() const { return index(by_.inner * kernels_.cell_bytes); }
    int at_once() const {
        const int tile = 2 * kernels_.pixels;
        return std::max(tile, static_cast<int>(chunk_bytes / pixel_bytes()) / tile * tile);
    }

    template <typename Cell>
    void compute_cells(const Job& job) const {
        if (window_.pointwise) return each_run(job, [&](int y, int rows) { compute_run(job, y, rows); });
        const auto copy = [&](Cell* to, std::size_t at, const std::byte* from, int count) {
            kernels_.to_cells(to, at, reinterpret_cast<const std::int8_t*>(from ? from : missing_.data()), count);
        };
        each_row<Cell>(job, 1, copy, [&](int y, const Cell* const* starts, std::size_t stride) {
            kernels_.sum_bytes(by_, job.panels, reinterpret_cast<const void* const*>(starts), stride, window_.out_width,
                               job.outputs[0].numbers<std::int8_t>(y), index(outputs_));
        });
    }

    void compute_run(const Job& job, int y, int rows) const {
        const auto* in = job.inputs[0].numbers<std::int8_t>(y);
        auto* out = job.outputs[0].numbers<std::int8_t>(y);
        const int all = rows * window_.out_width;
        for (int first = 0; first < all; first += at_once()) {
            const int pixels = std::min(at_once(), all - first);
            to_cells(job, in + index(first) * index(window_.channels), pixels);
            const void* start = job.scratch;
            kernels_.sum_bytes(by_, job.panels, &start, index(by_.inner), pixels, out + index(first) * index(outputs_),
                               index(outputs_));
        }
    }

    void to_cells(const Job& job, const std::int8_t* in, int pixels) const {
        if (by_.inner == window_.channels) return kernels_.to_cells(job.scratch, 0, in, pixels * by_.inner);
        for (int i = 0; i < pixels; ++i)
            kernels_.to_cells(job.scratch, index(i * by_.inner), in + i * window_.channels, window_.channels);
    }

    ByteScales scales_;
    ByteWeights by_;
    Buffer packed_, missing_;
};

}  // namespace

Made make_float_conv(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    return std::make_unique<FloatConvolution>(graph, operation, kernels);
}

Made make_byte_conv(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    return std::make_unique<ByteConvolution>(graph, operation, kernels);
}

}  // namespace mobilenets
