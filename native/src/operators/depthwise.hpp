// Depthwise convolutions, row by row.
#pragma once

#include "curves.hpp"
#include "rows.hpp"

namespace mobilenets {

/// How the windows of a depthwise convolution move.
struct DepthwiseWindow {
    static constexpr int most_rows = 2;  // computed at once

    DepthwiseRow row;  // everything except what differs for every row
    int height = 1, stride = 1, dilation = 1, top = 0;
    int rows_at_once = 1;

    constexpr int taps() const { return row.kernel_height * row.kernel_width; }
    constexpr bool moves_by_one() const { return stride == 1 && dilation == 1; }
    constexpr Span needed(Span rows) const {
        return window_rows(rows, stride, top, dilation * (row.kernel_height - 1) + 1, height);
    }
    constexpr std::size_t scratch_bytes() const {
        return (index(row.kernel_height + most_rows - 1) + index(tap_room(taps()))) * sizeof(std::byte*);
    }

    /// Calls `compute(row, outs)` for each row, or for the rows computed at once.
    template <typename Compute>
    void each_row(const Job& job, const Compute& compute) const {
        auto** rows = reinterpret_cast<const std::byte**>(job.scratch);
        DepthwiseRow now = row;
        now.rows = rows;
        now.taps = rows + now.kernel_height + most_rows - 1;
        now.panels = job.panels;
        for (int y = job.rows.from; y < job.rows.to; y += now.out_rows) {
            now.out_rows = smaller(rows_at_once, job.rows.to - y);
            for (int ky = 0; ky < now.kernel_height + now.out_rows - 1; ++ky) {
                const int from = y * stride - top + ky * dilation;
                rows[ky] = from < 0 || from >= height ? now.missing : job.inputs[0].at(from);
            }
            std::byte* outs[most_rows] = {};
            for (int r = 0; r < now.out_rows; ++r) outs[r] = job.outputs[0].at(y + r);
            compute(now, outs);
        }
    }
};

/// Applies activations that kernels cannot fuse to the output of a row.
inline void finish_row(Curve curve, const DepthwiseRow& row, float* const* outs) {
    if (is_applied_by_kernels(curve)) return;
    const int last = smaller(row.panels.to * panel, row.channels);
    for (int r = 0; r < smaller(row.out_rows, DepthwiseWindow::most_rows); ++r) {
        float* place = outs[r];
        for (int x = 0; x < row.out_width; ++x, place += row.channels)
            for (int c = row.panels.from * panel; c < last; ++c) place[c] = curve_of(curve, place[c]);
    }
}

struct FloatDepthwise {
    DepthwiseWindow window;
    FloatWeights by;
    Curve curve = Curve::linear;

    template <class Kernels>
    void compute(const Kernels& kernels, const Job& job) const {
        window.each_row(job, [&](const DepthwiseRow& row, std::byte* const* outs) {
            auto* const* numbers = reinterpret_cast<float* const*>(outs);
            kernels.depthwise_floats(by, row, numbers);
            finish_row(curve, row, numbers);
        });
    }
};

struct ByteDepthwise {
    DepthwiseWindow window;
    ByteWeights by;

    template <class Kernels>
    void compute(const Kernels& kernels, const Job& job) const {
        window.each_row(job, [&](const DepthwiseRow& row, std::byte* const* outs) {
            kernels.depthwise_bytes(by, row, reinterpret_cast<std::int8_t* const*>(outs));
        });
    }
};

}  // namespace mobilenets
