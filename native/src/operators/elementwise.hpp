// Elementwise operators.
#pragma once

#include "curves.hpp"
#include "rows.hpp"

namespace mobilenets {

struct FloatAdd {
    std::size_t numbers = 0;  // of a row
    Curve curve = Curve::linear;

    template <class Kernels>
    void compute(const Kernels& kernels, const Job& job) const {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            float* out = job.outputs[0].numbers<float>(y);
            kernels.add_floats(job.inputs[0].numbers<float>(y), job.inputs[1].numbers<float>(y), out, numbers, clip_of(curve));
            if (is_applied_by_kernels(curve)) continue;
            for (std::size_t i = 0; i < numbers; ++i) out[i] = curve_of(curve, out[i]);
        }
    }
};

struct ByteAdd {
    ByteCombination by;
    std::size_t numbers = 0;  // of a row

    template <class Kernels>
    void compute(const Kernels& kernels, const Job& job) const {
        for (int y = job.rows.from; y < job.rows.to; ++y)
            kernels.add_bytes(by, job.inputs[0].numbers<std::int8_t>(y), job.inputs[1].numbers<std::int8_t>(y),
                              job.outputs[0].numbers<std::int8_t>(y), numbers);
    }
};

/// The product of two feature maps, or of a feature map and one number per channel (a gate).
struct ProductPlaces {
    static constexpr int most_together = 256;  // most numbers, over several pixels, that are multiplied with a gate at once

    int width = 1, channels = 1;
    bool is_gate = false;  // whether the second factor is a single pixel, which applies to all
    int together = 1;      // pixels that are multiplied with a gate at once; the gate is repeated for them

    constexpr Span needed(int input, Span rows) const { return input == 1 && is_gate ? Span{0, 1} : rows; }

    /// Calls `of(a, b, out, count)` for contiguous numbers: those of some pixels with a gate, else whole rows.
    template <typename Number, typename Of>
    void each(const Job& job, const Of& of) const {
        const int row = width * channels, most = is_gate ? together * channels : row;
        Number repeated[most_together + guard];
        const Number* b = job.inputs[1].template numbers<Number>(0);
        if (is_gate && together > 1) {
            __builtin_memcpy(repeated, b, sizeof(Number) * index(channels));
            for (int made = channels; made < most; made *= 2)
                __builtin_memcpy(repeated + made, repeated, sizeof(Number) * index(smaller(made, most - made)));
            b = repeated;
        }
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            if (!is_gate) b = job.inputs[1].template numbers<Number>(y);
            for (int at = 0; at < row; at += most) {
                of(job.inputs[0].template numbers<Number>(y) + at, b, job.outputs[0].template numbers<Number>(y) + at,
                   index(smaller(most, row - at)));
            }
        }
    }
};

struct FloatMultiply {
    ProductPlaces places;

    template <class Kernels>
    void compute(const Kernels& kernels, const Job& job) const {
        places.each<float>(job, [&](const float* a, const float* b, float* out, std::size_t count) {
            kernels.multiply_floats(a, b, out, count);
        });
    }
};

struct ByteMultiply {
    ProductPlaces places;
    ByteCombination by;
    Factor to_made;  // used if its shift is positive

    template <class Kernels>
    void compute(const Kernels& kernels, const Job& job) const {
        places.each<std::int8_t>(job, [&](const std::int8_t* a, const std::int8_t* b, std::int8_t* out, std::size_t count) {
            if (to_made.shift <= 0) return kernels.multiply_bytes(by, a, b, out, count);
            for (std::size_t c = 0; c < count; ++c) out[c] = of(a[c], b[c]);
        });
    }

    std::int8_t of(std::int8_t a, std::int8_t b) const { return to_byte(exact(a, b) + by.zero_point); }
    constexpr int product(int a, int b) const { return (a - by.zero_points[0]) * (b - by.zero_points[1]); }
    /// The product at the output scale, before the zero point is added.
    constexpr std::int64_t exact(int a, int b) const { return scaled(product(a, b), to_made); }
};

struct FloatActivation {
    std::size_t numbers = 0;  // of a row
    Curve curve = Curve::linear;

    template <class Kernels>
    void compute(const Kernels&, const Job& job) const {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            const float* in = job.inputs[0].numbers<float>(y);
            float* out = job.outputs[0].numbers<float>(y);
            for (std::size_t i = 0; i < numbers; ++i) out[i] = curve_of(curve, in[i]);
        }
    }
};

/// Maps integers through a table of 256, which starts with the entry of -128.
struct ByteTable {
    const std::int8_t* table = nullptr;
    std::size_t numbers = 0;  // of a row

    template <class Kernels>
    void compute(const Kernels& kernels, const Job& job) const {
        for (int y = job.rows.from; y < job.rows.to; ++y)
            kernels.look_up(table, job.inputs[0].numbers<std::int8_t>(y), job.outputs[0].numbers<std::int8_t>(y), numbers);
    }
};

struct Dequantize {
    std::size_t numbers = 0;  // of a row
    float scale = 1;
    int zero_point = 0;

    template <class Kernels>
    void compute(const Kernels&, const Job& job) const {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            const auto* in = job.inputs[0].numbers<std::int8_t>(y);
            float* out = job.outputs[0].numbers<float>(y);
            for (std::size_t i = 0; i < numbers; ++i) out[i] = scale * static_cast<float>(in[i] - zero_point);
        }
    }
};

}  // namespace mobilenets
