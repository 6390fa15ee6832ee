// Convolutions and linear layers. A pointwise one reads its pixels where they lie; a larger one gathers, for a few pixels at a
// time, the patch that its filters see.
#include <cstring>

#include "../arithmetic.hpp"
#include "step.hpp"

namespace mobilenets {
namespace {

constexpr int chunk_bytes = 32 * 1024;  // of patches that stay in the first cache

/// How a window moves over a map; one place and one tap for a linear layer.
struct Window {
    int height = 1, width = 1, channels = 1;  // of the map
    int out_width = 1;
    int kernel_height = 1, kernel_width = 1;
    Pair stride{1, 1}, dilation{1, 1};
    int top = 0, left = 0;
    bool pointwise = true;  // every output pixel is made of the input pixel at the same place

    Window(const Graph& graph, const Operator& operation) {
        const Value& read = graph.input(operation);
        const Shape& filters = graph.tensor(operation.weight).shape;
        height = read.height(), width = read.width(), channels = read.channels();
        out_width = graph.output(operation).width();
        if (filters.size() == 4) {
            kernel_height = static_cast<int>(filters[2]), kernel_width = static_cast<int>(filters[3]);
            stride = operation.stride, dilation = operation.dilation;
            top = operation.padding[0], left = operation.padding[2];
            pointwise =
                kernel_height == 1 && kernel_width == 1 && stride == Pair{1, 1} && operation.padding == std::array<int, 4>{};
        }
    }

    int taps() const { return kernel_height * kernel_width; }
    Span needed(Span rows) const { return window_rows(rows, stride[0], top, dilation[0] * (kernel_height - 1) + 1, height); }

    /// Gives `take(tap, number of taps, pixel or null)` for what the output pixel sees: stretches of taps whose numbers lie
    /// side by side.
    template <typename Take>
    void each_stretch(const Rows& in, int y, int x, std::size_t pixel_bytes, const Take& take) const {
        const int first = x * stride[1] - left;
        const bool inside = dilation[1] == 1 && first >= 0 && first + kernel_width <= width;
        for (int ky = 0; ky < kernel_height; ++ky) {
            const int row = y * stride[0] - top + ky * dilation[0];
            const std::byte* start = row < 0 || row >= height ? nullptr : in.at(row);
            if (!start || inside) {
                take(ky * kernel_width, kernel_width, start ? start + static_cast<std::size_t>(first) * pixel_bytes : nullptr);
                continue;
            }
            for (int kx = 0; kx < kernel_width; ++kx) {
                const int column = first + kx * dilation[1];
                const bool missing = column < 0 || column >= width;
                take(ky * kernel_width + kx, 1, missing ? nullptr : start + static_cast<std::size_t>(column) * pixel_bytes);
            }
        }
    }
};

/// Calls `of(y, rows, first pixel, pixels)` for stretches of pixels that lie side by side in both values.
template <typename Of>
void each_run(const Job& job, const Of& of) {
    for (int y = job.rows.from; y < job.rows.to;) {
        const int rows = std::min(job.inputs[0].run(y, job.rows.to), job.outputs[0].run(y, job.rows.to));
        of(y, rows);
        y += rows;
    }
}

/// As many whole tiles as a chunk has room for.
int pixels_at_once(std::size_t pixel_bytes, int tile, int all) {
    return std::min(all, std::max(tile, static_cast<int>(chunk_bytes / pixel_bytes) / tile * tile));
}

// The index of a weight [o][c][kh][kw] at the place k of a patch, whose numbers are [kh][kw][c].
std::size_t weight_index(const Window& window, std::size_t o, std::size_t k) {
    const auto channels = static_cast<std::size_t>(window.channels), taps = static_cast<std::size_t>(window.taps());
    return (o * channels + k % channels) * taps + k / channels;
}

class FloatConvolution final : public Step {
public:
    FloatConvolution(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : window_(graph, operation), kernels_(kernels), curve_(operation.curve) {
        const auto weights = graph.tensor(operation.weight).copied<float>();
        const auto bias = graph.tensor(operation.bias).copied<float>();
        by_.outputs = static_cast<int>(bias.size());
        by_.inner = window_.channels * window_.taps();
        by_.clip = clip_of(operation.curve);
        const auto inner = static_cast<std::size_t>(by_.inner), panels = static_cast<std::size_t>(panels_of(by_.outputs));
        packed_ = buffer_of<float>(panels * inner * panel);
        bias_ = buffer_of<float>(panels * panel);
        for (std::size_t o = 0; o < bias.size(); ++o) {
            bias_.as<float>()[o] = bias[o];
            float* to = packed_.as<float>() + o / panel * inner * panel + o % panel;
            for (std::size_t k = 0; k < inner; ++k) to[k * panel] = weights[weight_index(window_, o, k)];
        }
        by_.panels = packed_.as<float>();
        by_.bias = bias_.as<float>();
    }

    Span needed(std::size_t, Span rows) const override { return window_.needed(rows); }
    int panels() const override { return panels_of(by_.outputs); }
    std::size_t scratch_bytes() const override {
        return window_.pointwise ? 0 : static_cast<std::size_t>(at_once()) * pixel_bytes();
    }

    void compute(const Job& job) const override {
        if (window_.pointwise) {
            each_run(job, [&](int y, int rows) {
                const auto inner = static_cast<std::size_t>(by_.inner);
                finish(job, job.inputs[0].numbers<float>(y), inner, rows * window_.out_width, job.outputs[0].numbers<float>(y));
            });
            return;
        }
        auto* patches = reinterpret_cast<float*>(job.scratch);
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            for (int x = 0; x < window_.out_width; x += at_once()) {
                const int pixels = std::min(at_once(), window_.out_width - x);
                for (int i = 0; i < pixels; ++i) gather(job.inputs[0], y, x + i, patches + i * by_.inner);
                finish(job, patches, static_cast<std::size_t>(by_.inner), pixels,
                       job.outputs[0].numbers<float>(y) + x * by_.outputs);
            }
        }
    }

private:
    std::size_t pixel_bytes() const { return sizeof(float) * static_cast<std::size_t>(by_.inner); }
    int at_once() const { return pixels_at_once(pixel_bytes(), 2 * kernels_.pixels, window_.out_width); }

    void gather(const Rows& in, int y, int x, float* patch) const {
        const auto channels = static_cast<std::size_t>(window_.channels);
        window_.each_stretch(in, y, x, channels * sizeof(float), [&](int tap, int taps, const std::byte* from) {
            float* to = patch + static_cast<std::size_t>(tap) * channels;
            const std::size_t bytes = static_cast<std::size_t>(taps) * channels * sizeof(float);
            if (from)
                std::memcpy(to, from, bytes);
            else
                std::memset(to, 0, bytes);
        });
    }

    void finish(const Job& job, const float* in, std::size_t stride, int pixels, float* out) const {
        const auto outputs = static_cast<std::size_t>(by_.outputs);
        kernels_.sum_floats(by_, job.panels, in, stride, pixels, out, outputs);
        if (is_applied_by_kernels(curve_)) return;
        const int last = std::min(job.panels.to * panel, by_.outputs);
        for (int i = 0; i < pixels; ++i) {
            float* pixel = out + static_cast<std::size_t>(i) * outputs;
            for (int c = job.panels.from * panel; c < last; ++c) pixel[c] = curve_of(curve_, pixel[c]);
        }
    }

    Window window_;
    const Kernels& kernels_;
    Curve curve_;
    Buffer packed_, bias_;
    FloatWeights by_;
};

class ByteConvolution final : public Step {
public:
    ByteConvolution(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : window_(graph, operation), kernels_(kernels), scales_(graph, operation, kernels, place_of), by_(scales_.weights) {
        const auto weights = graph.tensor(operation.weight).copied<std::int8_t>();
        const int numbers = window_.channels * window_.taps();
        by_.inner = (numbers + kernels.depth - 1) / kernels.depth * kernels.depth;
        const auto inner = static_cast<std::size_t>(by_.inner), depth = static_cast<std::size_t>(kernels.depth);
        const auto panels = static_cast<std::size_t>(panels_of(by_.outputs));
        packed_ = Buffer(panels * inner * panel * static_cast<std::size_t>(kernels.cell_bytes));
        for (std::size_t o = 0; o < static_cast<std::size_t>(by_.outputs); ++o) {
            const auto place = static_cast<std::size_t>(kernels.place(static_cast<int>(o % panel)));
            for (std::size_t k = 0; k < static_cast<std::size_t>(numbers); ++k) {
                const std::size_t at = o / panel * inner * panel + (k / depth * panel + place) * depth + k % depth;
                kernels.store_cell(packed_.data(), at, weights[weight_index(window_, o, k)]);
            }
        }
        by_.panels = packed_.data();
        missing_ = Buffer(static_cast<std::size_t>(window_.kernel_width * window_.channels));
        std::memset(missing_.data(), graph.input(operation).zero_point(), missing_.bytes());
    }

    Span needed(std::size_t, Span rows) const override { return window_.needed(rows); }
    int panels() const override { return panels_of(by_.outputs); }
    std::size_t scratch_bytes() const override { return static_cast<std::size_t>(at_once()) * pixel_bytes() + guard; }

    void compute(const Job& job) const override {
        if (!window_.pointwise) {
            for (int y = job.rows.from; y < job.rows.to; ++y) {
                for (int x = 0; x < window_.out_width; x += at_once()) {
                    const int pixels = std::min(at_once(), window_.out_width - x);
                    for (int i = 0; i < pixels; ++i) gather(job, y, x + i, i);
                    finish(job, pixels, job.outputs[0].numbers<std::int8_t>(y) + x * by_.outputs);
                }
            }
            return;
        }
        each_run(job, [&](int y, int rows) {
            const std::int8_t* in = job.inputs[0].numbers<std::int8_t>(y);
            std::int8_t* out = job.outputs[0].numbers<std::int8_t>(y);
            const int all = rows * window_.out_width;
            for (int first = 0; first < all; first += at_once()) {
                const int pixels = std::min(at_once(), all - first);
                widen(job, in + static_cast<std::size_t>(first) * static_cast<std::size_t>(window_.channels), pixels);
                finish(job, pixels, out + static_cast<std::size_t>(first) * static_cast<std::size_t>(by_.outputs));
            }
        });
    }

private:
    static int place_of(int channel, int, const Kernels& kernels) {
        return channel / panel * panel + kernels.place(channel % panel);
    }
    std::size_t pixel_bytes() const { return static_cast<std::size_t>(by_.inner * kernels_.cell_bytes); }
    int at_once() const { return pixels_at_once(pixel_bytes(), 2 * kernels_.pixels, 1 << 16); }

    void widen(const Job& job, const std::int8_t* in, int pixels) const {
        if (by_.inner == window_.channels) return kernels_.to_cells(job.scratch, 0, in, pixels * by_.inner);
        for (int i = 0; i < pixels; ++i) {
            kernels_.to_cells(job.scratch, static_cast<std::size_t>(i * by_.inner), in + i * window_.channels,
                              window_.channels);
        }
    }

    void gather(const Job& job, int y, int x, int pixel) const {
        const auto channels = static_cast<std::size_t>(window_.channels);
        window_.each_stretch(job.inputs[0], y, x, channels, [&](int tap, int taps, const std::byte* from) {
            const auto at = static_cast<std::size_t>(pixel * by_.inner + tap * window_.channels);
            kernels_.to_cells(job.scratch, at, reinterpret_cast<const std::int8_t*>(from ? from : missing_.data()),
                              taps * window_.channels);
        });
    }

    void finish(const Job& job, int pixels, std::int8_t* out) const {
        kernels_.sum_bytes(by_, job.panels, job.scratch, pixels, out, static_cast<std::size_t>(by_.outputs));
    }

    Window window_;
    const Kernels& kernels_;
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
