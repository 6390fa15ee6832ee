// The way into a network: what its caller has becomes what its first operators read.
#pragma once

#include "rows.hpp"

namespace mobilenets {

/// Floats as 8-bit integers.
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

/// Pixels as 8-bit integers, by a table of what each of the 256 becomes.
struct PixelTable {
    const std::int8_t* table = nullptr;
    int width = 1, channels = 1;
    int next = 0;  // from the table of one channel to that of the next; 0 if all have the same

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

/// Pixels as floats: each times a factor of its channel, less a shift.
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

/// Floats as they are.
struct CopiedFloats {
    std::size_t numbers = 0;  // of a row

    template <class Kernels>
    void compute(const Kernels&, const Job& job) const {
        for (int y = job.rows.from; y < job.rows.to; ++y)
            __builtin_memcpy(job.outputs[0].numbers<float>(y), job.inputs[0].numbers<float>(y), sizeof(float) * numbers);
    }
};

}  // namespace mobilenets
