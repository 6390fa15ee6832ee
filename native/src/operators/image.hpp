// The input of a network: conversions from the caller's image to the input of the first operators.
#pragma once

#include "rows.hpp"

namespace mobilenets {

/// Quantizes floats to 8-bit integers.
struct Quantize {
    std::size_t numbers = 0;  // of a row
    float scale = 1;
    int zero_point = 0;

    template <class Kernels>
    void compute(const Kernels& kernels, const Job& job) const {
        for (int y = job.rows.from; y < job.rows.to; ++y)
            kernels.quantize(job.inputs[0].numbers<float>(y), scale, zero_point, job.outputs[0].numbers<std::int8_t>(y), numbers);
    }
};

/// Converts 8-bit pixels to 8-bit integers with a table of 256.
struct PixelTable {
    const std::int8_t* table = nullptr;
    int width = 1, channels = 1;
    int next = 0;  // distance between the tables of two channels; 0 if all share one

    template <class Kernels>
    void compute(const Kernels&, const Job& job) const {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            const auto* in = job.inputs[0].numbers<std::uint8_t>(y);
            auto* out = job.outputs[0].numbers<std::int8_t>(y);
            for (int x = 0; x < width; ++x) {
                const std::int8_t* of = table;
                for (int c = 0; c < channels; ++c, of += next) *out++ = of[*in++];
            }
        }
    }
};

/// Converts 8-bit pixels to floats: times a factor of the channel, minus a shift.
struct PixelFloats {
    const float* factors = nullptr;
    const float* shifts = nullptr;
    int width = 1, channels = 1;

    template <class Kernels>
    void compute(const Kernels&, const Job& job) const {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            const auto* in = job.inputs[0].numbers<std::uint8_t>(y);
            auto* out = job.outputs[0].numbers<float>(y);
            for (int x = 0; x < width; ++x)
                for (int c = 0; c < channels; ++c) *out++ = static_cast<float>(*in++) * factors[c] - shifts[c];
        }
    }
};

/// Copies floats.
struct CopiedFloats {
    std::size_t numbers = 0;  // of a row

    template <class Kernels>
    void compute(const Kernels&, const Job& job) const {
        for (int y = job.rows.from; y < job.rows.to; ++y)
            __builtin_memcpy(job.outputs[0].numbers<float>(y), job.inputs[0].numbers<float>(y), sizeof(float) * numbers);
    }
};

}  // namespace mobilenets
