// Convolutions, depthwise convolutions and sums of 16-bit numbers; inputs and outputs may have 32 bits.
#include <cstring>

#include "windows.hpp"

namespace mobilenets {
namespace {

constexpr int chunk_bytes = 16 * 1024;  // of pixels that stay in the L1 cache

class HalfConvolution final : public Convolution {
public:
    HalfConvolution(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : Convolution(graph, operation, kernels),
          halves_(*kernels.halves),
          curve_(operation.curve),
          reads_(graph.input(operation).number),
          makes_(graph.output(operation).number) {
        const Tensor& tensor = graph.tensor(operation.weight);
        const std::size_t numbers = index(static_cast<int>(count(tensor.shape)));
        const Buffer reals = buffer_of<float>(numbers), weights = buffer_of<Half>(numbers);
        std::memcpy(reals.data(), tensor.data, reals.bytes());
        halves_.to_halves(reals.as<float>(), weights.as<Half>(), static_cast<int>(numbers));
        const auto bias = graph.tensor(operation.bias).copied<float>();
        by_.outputs = outputs_;
        by_.stretches = window_.stretches(), by_.inner = (window_.numbers() + 1) / 2 * 2;
        by_.clip = clip_of(operation.curve);
        const std::size_t panel_size = index(by_.stretches * by_.inner) * panel;
        packed_ = buffer_of<Half>(index(panels()) * panel_size);
        bias_ = buffer_of<float>(index(panels()) * panel);
        for (int o = 0; o < outputs_; ++o) {
            bias_.as<float>()[o] = bias[index(o)];
            for (int s = 0; s < by_.stretches; ++s) {
                Half* to = packed_.as<Half>() + index(o / panel) * panel_size + index(s * by_.inner) * panel;
                for (int k = 0; k < window_.numbers(); ++k)
                    to[(k / 2 * panel + o % panel) * 2 + k % 2] = weights.as<Half>()[window_.weight_index(o, s, k)];
            }
        }
        by_.halves = packed_.data();
        by_.bias = bias_.as<float>();
    }

    std::size_t scratch_bytes() const override {
        if (!window_.pointwise) return window_.rows_bytes(sizeof(Half));
        return reads_in_place() ? 0 : index(at_once()) * pixel_bytes() + guard;
    }

    void compute(const Job& job) const override {
        if (window_.pointwise) return each_run(job, [&](int y, int rows) { compute_run(job, y, rows); });
        const std::size_t number = bytes_of(reads_);
        const auto copy = [&](Half* to, std::size_t at, const std::byte* from, int count) { copied(from, to + at, count); };
        window_.each_row<Half>(job, number, copy, [&](int y, const Half* const* starts, std::size_t stride) {
            finish(job, starts, stride, window_.out_width, job.outputs[0].at(y));
        });
    }

private:
    bool reads_in_place() const { return reads_ == Number::bfloat16 && by_.inner == window_.channels; }
    std::size_t pixel_bytes() const { return index(by_.inner) * sizeof(Half); }
    int at_once() const {
        const int tile = 2 * kernels_.pixels;
        return std::max(tile, static_cast<int>(chunk_bytes / pixel_bytes()) / tile * tile);
    }

    void copied(const std::byte* from, Half* to, int count) const {
        if (!from)
            std::fill_n(to, count, Half{});
        else if (reads_ == Number::float32)
            halves_.to_halves(reinterpret_cast<const float*>(from), to, count);
        else
            std::memcpy(to, from, index(count) * sizeof(Half));
    }

    void compute_run(const Job& job, int y, int rows) const {
        const std::byte* in = job.inputs[0].at(y);
        std::byte* out = job.outputs[0].at(y);
        const int all = rows * window_.out_width;
        if (reads_in_place()) {
            const auto* start = reinterpret_cast<const Half*>(in);
            return finish(job, &start, index(by_.inner), all, out);
        }
        auto* cells = reinterpret_cast<Half*>(job.scratch);
        const std::size_t read = index(window_.channels) * bytes_of(reads_), made = index(outputs_) * bytes_of(makes_);
        for (int first = 0; first < all; first += at_once()) {
            const int pixels = std::min(at_once(), all - first);
            for (int i = 0; i < pixels; ++i) {
                Half* pixel = cells + index(i) * index(by_.inner);
                copied(in + index(first + i) * read, pixel, window_.channels);
                if (by_.inner > window_.channels) pixel[window_.channels] = Half{};
            }
            const Half* start = cells;
            finish(job, &start, index(by_.inner), pixels, out + index(first) * made);
        }
    }

    void finish(const Job& job, const Half* const* starts, std::size_t stride, int pixels, std::byte* out) const {
        if (makes_ == Number::bfloat16)
            return halves_.sum_to_halves(by_, job.panels, starts, stride, pixels, reinterpret_cast<Half*>(out),
                                         index(outputs_));
        auto* numbers = reinterpret_cast<float*>(out);
        halves_.sum_to_floats(by_, job.panels, starts, stride, pixels, numbers, index(outputs_));
        if (is_applied_by_kernels(curve_)) return;
        for (int i = 0; i < pixels; ++i) {
            for (int c = job.panels.from * panel; c < std::min(job.panels.to * panel, outputs_); ++c) {
                float& number = numbers[index(i) * index(outputs_) + index(c)];
                number = curve_of(curve_, number);
            }
        }
    }

    const HalfKernels& halves_;
    Curve curve_;
    Number reads_, makes_;
    Buffer packed_, bias_;
    FloatWeights by_;
};

class HalfAdd final : public Step {
public:
    HalfAdd(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : halves_(*kernels.halves),
          clip_(clip_of(operation.curve)),
          numbers_(graph.output(operation).row_bytes() / sizeof(Half)) {}

    Span needed(std::size_t, Span rows) const override { return rows; }

    void compute(const Job& job) const override {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            halves_.add(job.inputs[0].numbers<Half>(y), job.inputs[1].numbers<Half>(y), job.outputs[0].numbers<Half>(y),
                        numbers_, clip_);
        }
    }

private:
    const HalfKernels& halves_;
    Clip clip_;
    std::size_t numbers_;  // of a row
};

}  // namespace

Made make_half_conv(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    return std::make_unique<HalfConvolution>(graph, operation, kernels);
}

Made make_half_add(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    return std::make_unique<HalfAdd>(graph, operation, kernels);
}

}  // namespace mobilenets
