// Average pooling.
#pragma once

#include "rows.hpp"

namespace mobilenets {

/// A window that moves over a feature map, without padding.
struct PoolWindow {
    int height = 1, channels = 1;  // of the map
    int out_width = 1;
    int kernel_height = 1, kernel_width = 1, stride_down = 1, stride_across = 1;

    constexpr std::int64_t places() const { return std::int64_t{kernel_height} * kernel_width; }
    constexpr Span needed(Span rows) const { return window_rows(rows, stride_down, 0, kernel_height, height); }

    /// Calls `make(sums, out, count)` with the sums of each panel of each output pixel.
    template <typename Sum, typename Number, typename Make>
    void each_panel(const Job& job, const Make& make) const {
        const Span seen{job.panels.from * panel, smaller(job.panels.to * panel, channels)};
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            for (int x = 0; x < out_width; ++x) {
                for (int c = seen.from; c < seen.to; c += panel) {
                    const int count = smaller(panel, seen.to - c);
                    Sum sums[panel] = {};
                    for (int ky = 0; ky < kernel_height; ++ky) {
                        const Number* row = job.inputs[0].template numbers<Number>(y * stride_down + ky);
                        for (int kx = 0; kx < kernel_width; ++kx) add(sums, row + at(x * stride_across + kx, c), count);
                    }
                    make(sums, job.outputs[0].template numbers<Number>(y) + at(x, c), count);
                }
            }
        }
    }

    constexpr std::size_t at(int x, int channel) const { return index(x) * index(channels) + index(channel); }

private:
    template <typename Sum, typename Number>
    static void add(Sum (&sums)[panel], const Number* place, int count) {
        if (count == panel)
            for (int i = 0; i < panel; ++i) sums[i] += place[i];
        else
            for (int i = 0; i < count; ++i) sums[i] += place[i];
    }
};

struct FloatPool {
    PoolWindow window;

    template <class Kernels>
    void compute(const Kernels& kernels, const Job& job) const {
        const int first = job.panels.from * panel, count = smaller(job.panels.to * panel, window.channels) - first;
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            for (int x = 0; x < window.out_width; ++x) compute_place(kernels, job, y, x, first, count);
        }
    }

private:
    template <class Kernels>
    void compute_place(const Kernels& kernels, const Job& job, int y, int x, int first, int count) const {
        float* out = job.outputs[0].numbers<float>(y) + window.at(x, first);
        for (int i = 0; i < count; ++i) out[i] = 0;
        for (int ky = 0; ky < window.kernel_height; ++ky) {
            const float* row = job.inputs[0].numbers<float>(y * window.stride_down + ky);
            for (int kx = 0; kx < window.kernel_width; ++kx)
                kernels.add_floats(out, row + window.at(x * window.stride_across + kx, first), out, index(count), Clip::none);
        }
        for (int i = 0; i < count; ++i) out[i] /= static_cast<float>(window.places());
    }
};

/// Local pooling: the scale does not change, and halves are rounded away from zero.
struct BytePool {
    PoolWindow window;

    template <class Kernels>
    void compute(const Kernels&, const Job& job) const {
        window.each_panel<std::int64_t, std::int8_t>(job, [&](const std::int64_t* sums, std::int8_t* out, int count) {
            for (int i = 0; i < count; ++i) {
                const std::int64_t sum = sums[i], size = sum < 0 ? -sum : sum;
                const std::int64_t mean = (size + window.places() / 2) / window.places();
                out[i] = to_byte(sum < 0 ? -mean : mean);
            }
        });
    }
};

/// Global pooling: the factor includes the division by the number of pixels.
struct ByteWholePool {
    PoolWindow window;
    Factor by;
    int zero_points[2] = {0, 0};  // of what is read and made

    template <class Kernels>
    void compute(const Kernels& kernels, const Job& job) const {
        constexpr int at_once = most_padding;  // channels
        const int last = smaller(job.panels.to * panel, window.channels);
        std::int8_t* out = job.outputs[0].template numbers<std::int8_t>(0);
        for (int c = job.panels.from * panel; c < last; c += at_once) {
            const int count = smaller(at_once, last - c);
            std::int32_t sums[at_once] = {};
            for (int y = 0, rows = 0; y < window.kernel_height; y += rows) {
                rows = job.inputs[0].run(y, window.kernel_height);
                kernels.add_up(job.inputs[0].template numbers<std::int8_t>(y) + c, index(window.channels),
                               rows * window.kernel_width, sums, count);
            }
            const auto less = static_cast<std::int32_t>(window.places() * zero_points[0]);
            kernels.finish_sums(sums, less, by, zero_points[1], out + c, count);
        }
    }
};

}  // namespace mobilenets
