// Convolutions and linear layers. A pointwise convolution reads its pixels in place. For a larger kernel, the rows under the
// filters are copied with their padding; the inputs of a filter are then a few stretches of numbers, at the same spacing for
// every pixel.
#pragma once

#include "curves.hpp"
#include "rows.hpp"

namespace mobilenets {

/// How a window moves over a feature map; a single pixel and tap for a linear layer.
struct Window {
    int height = 1, width = 1, channels = 1;  // of the map
    int out_width = 1;
    int kernel_height = 1, kernel_width = 1;
    int stride_down = 1, stride_across = 1;
    int dilation_down = 1, dilation_across = 1;
    int top = 0, left = 0;
    bool pointwise = true;  // every output pixel is computed from the input pixel at the same position

    constexpr Span needed(Span rows) const {
        return window_rows(rows, stride_down, top, dilation_down * (kernel_height - 1) + 1, height);
    }

    // Stretches of contiguous numbers: rows of the filter, or single taps if there are gaps between them.
    constexpr int taps_of_stretch() const { return dilation_across == 1 ? kernel_width : 1; }
    constexpr int stretches() const { return kernel_height * kernel_width / taps_of_stretch(); }
    constexpr int numbers() const { return taps_of_stretch() * channels; }
    constexpr bool is_one_tap() const { return kernel_height * kernel_width == 1; }

    /// Number of columns under the filters, including padding.
    constexpr int seen_columns() const { return (out_width - 1) * stride_across + dilation_across * (kernel_width - 1) + 1; }
    constexpr std::size_t seen_numbers() const { return index(seen_columns()) * index(channels); }

    /// The index of a weight [o][c][kh][kw] at position k of a stretch, whose numbers are [kw][c].
    constexpr std::size_t weight_index(int o, int stretch, int k) const {
        const int tap = stretch * taps_of_stretch() + k / channels, taps = kernel_height * kernel_width;
        return (index(o) * index(channels) + index(k % channels)) * index(taps) + index(tap);
    }

    /// The memory for the rows under a filter, and for the starts of its stretches.
    constexpr std::size_t rows_bytes(std::size_t cell_bytes) const {
        return index(stretches()) * sizeof(void*) + guard + index(kernel_height) * row_bytes(cell_bytes);
    }
    constexpr std::size_t row_bytes(std::size_t cell_bytes) const { return seen_numbers() * cell_bytes + guard; }

    /// Copies the part of a row that is under the filters, and its padding: `copy(at, from or null, count)`.
    template <typename Copy>
    void copy_row(const Rows& in, int row, std::size_t number_bytes, const Copy& copy) const {
        const bool missing = row < 0 || row >= height;
        const int inside = missing ? 0 : larger(0, smaller(width, seen_columns() - left));
        const int before = missing ? seen_columns() : smaller(left, seen_columns());
        const int after = larger(0, seen_columns() - before - inside);
        const std::size_t first = left < 0 ? index(-left) * index(channels) * number_bytes : 0;
        copy(std::size_t{0}, static_cast<const std::byte*>(nullptr), before * channels);
        if (inside > 0) copy(index(before * channels), in.at(row) + first, inside * channels);
        copy(index((before + inside) * channels), static_cast<const std::byte*>(nullptr), after * channels);
    }

    /// For each output row: calls `copy(cells, at, from or null, count)` for the rows that it needs, then `sum(y, starts,
    /// stride)` for the stretches.
    template <typename Cell, typename Copy, typename Sum>
    void each_row(const Job& job, std::size_t number_bytes, const Copy& copy, const Sum& sum) const {
        auto** starts = reinterpret_cast<const Cell**>(job.scratch);
        const std::size_t pointers = (index(stretches()) * sizeof(void*) + guard - 1) / guard * guard;
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            for (int ky = 0; ky < kernel_height; ++ky) {
                auto* cells = reinterpret_cast<Cell*>(job.scratch + pointers + index(ky) * row_bytes(sizeof(Cell)));
                copy_row(job.inputs[0], y * stride_down - top + ky * dilation_down, number_bytes,
                         [&](std::size_t at, const std::byte* from, int count) { copy(cells, at, from, count); });
                const int of_row = stretches() / kernel_height;
                for (int s = 0; s < of_row; ++s) starts[ky * of_row + s] = cells + s * dilation_across * channels;
            }
            sum(y, starts, index(stride_across * channels));
        }
    }
};

struct FloatConvolution {
    Window window;
    FloatWeights by;
    Curve curve = Curve::linear;

    constexpr std::size_t scratch_bytes() const { return window.pointwise ? 0 : window.rows_bytes(sizeof(float)); }

    template <class Kernels>
    void compute(const Kernels& kernels, const Job& job) const {
        if (window.pointwise) {
            each_run(job, [&](int y, int rows) {
                const float* in = job.inputs[0].numbers<float>(y);
                finish(kernels, job, &in, index(by.inner), rows * window.out_width, job.outputs[0].numbers<float>(y));
            });
            return;
        }
        const auto copy = [](float* to, std::size_t at, const std::byte* from, int count) {
            if (from)
                __builtin_memcpy(to + at, from, sizeof(float) * index(count));
            else
                for (int i = 0; i < count; ++i) to[at + index(i)] = 0;
        };
        window.each_row<float>(job, sizeof(float), copy, [&](int y, const float* const* starts, std::size_t stride) {
            finish(kernels, job, starts, stride, window.out_width, job.outputs[0].numbers<float>(y));
        });
    }

private:
    template <class Kernels>
    void finish(const Kernels& kernels, const Job& job, const float* const* starts, std::size_t stride, int pixels,
                float* out) const {
        kernels.sum_floats(by, job.panels, starts, stride, pixels, out, index(by.outputs));
        if (is_applied_by_kernels(curve)) return;
        const int last = smaller(job.panels.to * panel, by.outputs);
        for (int i = 0; i < pixels; ++i) {
            float* pixel = out + index(i) * index(by.outputs);
            for (int c = job.panels.from * panel; c < last; ++c) pixel[c] = curve_of(curve, pixel[c]);
        }
    }
};

struct ByteConvolution {
    Window window;
    ByteWeights by;
    int zero_point = 0;        // of the input
    int at_once = 1;           // pixels whose cells a pointwise one reads at once
    bool reads_cells = false;  // whether the input of a pointwise one is already in cells

    template <class Kernels>
    constexpr std::size_t scratch_bytes(const Kernels& kernels) const {
        if (!window.pointwise) return window.rows_bytes(index(kernels.cell_bytes));
        return reads_cells || reads_in_place(kernels) ? 0 : index(at_once) * pixel_bytes(kernels) + guard;
    }

    template <class Kernels>
    void compute(const Kernels& kernels, const Job& job) const {
        if (window.pointwise) return each_run(job, [&](int y, int rows) { compute_run(kernels, job, y, rows); });
        if (kernels.cell_bytes == 1)
            compute_window<std::uint8_t>(kernels, job);
        else
            compute_window<std::int16_t>(kernels, job);
    }

    template <class Kernels>
    constexpr std::size_t pixel_bytes(const Kernels& kernels) const {
        return index(by.inner * kernels.cell_bytes);
    }

private:
    /// Whether the integers of a pixel are cells. Weights behind its last channel are 0, so that it may be read beyond it.
    template <class Kernels>
    static constexpr bool reads_in_place(const Kernels& kernels) {
        return kernels.cell_bytes == 1 && kernels.offset == 0;
    }

    template <typename Cell, class Kernels>
    void compute_window(const Kernels& kernels, const Job& job) const {
        const auto copy = [&](Cell* to, std::size_t at, const std::byte* from, int count) {
            if (from)
                kernels.to_cells(to, at, reinterpret_cast<const std::int8_t*>(from), count);
            else
                kernels.fill_cells(to, at, zero_point, count);
        };
        window.each_row<Cell>(job, 1, copy, [&](int y, const Cell* const* starts, std::size_t stride) {
            kernels.sum_bytes(by, job.panels, reinterpret_cast<const void* const*>(starts), stride, window.out_width,
                              job.outputs[0].numbers<std::int8_t>(y), index(by.outputs));
        });
    }

    template <class Kernels>
    void compute_run(const Kernels& kernels, const Job& job, int y, int rows) const {
        const auto* in = job.inputs[0].numbers<std::int8_t>(y);
        auto* out = job.outputs[0].numbers<std::int8_t>(y);
        const int all = rows * window.out_width;
        if (reads_in_place(kernels)) {
            const void* start = in;
            return kernels.sum_bytes(by, job.panels, &start, index(window.channels), all, out, index(by.outputs));
        }
        for (int first = 0; first < all; first += at_once) {
            const int pixels = smaller(at_once, all - first);
            const void* start = in + index(first) * index(window.channels);
            if (!reads_cells) {
                to_cells(kernels, job, static_cast<const std::int8_t*>(start), pixels);
                start = job.scratch;
            }
            kernels.sum_bytes(by, job.panels, &start, index(by.inner), pixels, out + index(first) * index(by.outputs),
                              index(by.outputs));
        }
    }

    template <class Kernels>
    void to_cells(const Kernels& kernels, const Job& job, const std::int8_t* in, int pixels) const {
        if (by.inner == window.channels) return kernels.to_cells(job.scratch, 0, in, pixels * by.inner);
        for (int i = 0; i < pixels; ++i)
            kernels.to_cells(job.scratch, index(i * by.inner), in + i * window.channels, window.channels);
    }
};

}  // namespace mobilenets
