// Convolutions and linear layers. A pointwise one reads its pixels where they lie. For a larger one, the rows that its filters
// see are copied with their margins; what a filter sees is then a few stretches of numbers, as far apart for every pixel.
#include <cstring>
#include <vector>

#include "../arithmetic.hpp"
#include "step.hpp"

namespace mobilenets {
namespace {

constexpr int chunk_bytes = 16 * 1024;  // of pixels that stay in the first cache

std::size_t index(int i) { return static_cast<std::size_t>(i); }

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

    Span needed(Span rows) const { return window_rows(rows, stride[0], top, dilation[0] * (kernel_height - 1) + 1, height); }

    // Stretches of numbers that lie side by side: rows of the filter, or single taps if there are gaps between them.
    int taps_of_stretch() const { return dilation[1] == 1 ? kernel_width : 1; }
    int stretches() const { return kernel_height * kernel_width / taps_of_stretch(); }
    int numbers() const { return taps_of_stretch() * channels; }
    bool is_one_tap() const { return kernel_height * kernel_width == 1; }

    /// Columns that the filters see, margins included.
    int seen_columns() const { return (out_width - 1) * stride[1] + dilation[1] * (kernel_width - 1) + 1; }
    std::size_t seen_numbers() const { return index(seen_columns()) * index(channels); }

    /// The index of a weight [o][c][kh][kw] at the place k of a stretch, whose numbers are [kw][c].
    std::size_t weight_index(int o, int stretch, int k) const {
        const int tap = stretch * taps_of_stretch() + k / channels, taps = kernel_height * kernel_width;
        return (index(o) * index(channels) + index(k % channels)) * index(taps) + index(tap);
    }

    /// Copies what the filters see of a row, and its margins: `copy(at, from or null, count)`.
    template <typename Copy>
    void copy_row(const Rows& in, int row, std::size_t number_bytes, const Copy& copy) const {
        const bool missing = row < 0 || row >= height;
        const int inside = missing ? 0 : std::max(0, std::min(width, seen_columns() - left));
        const int before = missing ? seen_columns() : std::min(left, seen_columns());
        const int after = std::max(0, seen_columns() - before - inside);
        const std::size_t first = left < 0 ? index(-left) * index(channels) * number_bytes : 0;
        copy(std::size_t{0}, static_cast<const std::byte*>(nullptr), before * channels);
        if (inside > 0) copy(index(before * channels), in.at(row) + first, inside * channels);
        copy(index((before + inside) * channels), static_cast<const std::byte*>(nullptr), after * channels);
    }
};

/// Calls `of(y, rows)` for stretches of rows that lie side by side in both values.
template <typename Of>
void each_run(const Job& job, const Of& of) {
    for (int y = job.rows.from; y < job.rows.to;) {
        const int rows = std::min(job.inputs[0].run(y, job.rows.to), job.outputs[0].run(y, job.rows.to));
        of(y, rows);
        y += rows;
    }
}

/// What the two kinds of convolutions share: the way over rows and windows.
class Convolution : public Step {
public:
    Convolution(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : window_(graph, operation), kernels_(kernels), outputs_(graph.output(operation).channels()) {}

    Span needed(std::size_t, Span rows) const override { return window_.needed(rows); }
    int panels() const override { return panels_of(outputs_); }

protected:
    /// Room for the rows that a filter sees, and for where its stretches begin.
    std::size_t rows_bytes(std::size_t cell_bytes) const {
        return index(window_.stretches()) * sizeof(void*) + guard + index(window_.kernel_height) * row_bytes(cell_bytes);
    }
    std::size_t row_bytes(std::size_t cell_bytes) const { return window_.seen_numbers() * cell_bytes + guard; }

    /// For each row of the output: `copy` the rows that it needs, then `sum` the stretches.
    template <typename Cell, typename Copy, typename Sum>
    void each_row(const Job& job, std::size_t number_bytes, const Copy& copy, const Sum& sum) const {
        auto** starts = reinterpret_cast<const Cell**>(job.scratch);
        const std::size_t pointers = (index(window_.stretches()) * sizeof(void*) + guard - 1) / guard * guard;
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            for (int ky = 0; ky < window_.kernel_height; ++ky) {
                auto* cells = reinterpret_cast<Cell*>(job.scratch + pointers + index(ky) * row_bytes(sizeof(Cell)));
                window_.copy_row(job.inputs[0], y * window_.stride[0] - window_.top + ky * window_.dilation[0], number_bytes,
                                 [&](std::size_t at, const std::byte* from, int count) { copy(cells, at, from, count); });
                const int stretches = window_.stretches() / window_.kernel_height;
                for (int s = 0; s < stretches; ++s)
                    starts[ky * stretches + s] = cells + s * window_.dilation[1] * window_.channels;
            }
            sum(y, starts, index(window_.stride[1] * window_.channels));
        }
    }

    Window window_;
    const Kernels& kernels_;
    int outputs_;
};

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
