// What all convolutions share: how a window moves over a map, and where what it sees lies.
#pragma once

#include <vector>

#include "step.hpp"

namespace mobilenets {

inline std::size_t index(int i) { return static_cast<std::size_t>(i); }

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

}  // namespace mobilenets
