// Operators on one number at a time.
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

/// A product of two maps, or of a map and one number for each channel.
struct ProductPlaces {
    int width = 1, channels = 1;
    bool is_gate = false;  // whether the second is one place, which counts for all

    constexpr Span needed(int input, Span rows) const { return input == 1 && is_gate ? Span{0, 1} : rows; }

    /// Calls `of(a, b, out)` for each place.
    template <typename Number, typename Of>
    void each(const Job& job, const Of& of) const {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            for (int x = 0; x < width; ++x) {
                const std::size_t at = index(x) * index(channels);
                of(job.inputs[0].template numbers<Number>(y) + at,
                   job.inputs[1].template numbers<Number>(is_gate ? 0 : y) + (is_gate ? 0 : at),
                   job.outputs[0].template numbers<Number>(y) + at);
            }
        }
    }
};

struct FloatMultiply {
    ProductPlaces places;

    template <class Kernels>
    void compute(const Kernels& kernels, const Job& job) const {
        places.each<float>(job, [&](const float* a, const float* b, float* out) {
            kernels.multiply_floats(a, b, out, index(places.channels));
        });
    }
};

struct ByteMultiply {
    ProductPlaces places;
    ByteCombination by;
    Factor to_made;  // that is used where it grows what it multiplies

    template <class Kernels>
    void compute(const Kernels& kernels, const Job& job) const {
        places.each<std::int8_t>(job, [&](const std::int8_t* a, const std::int8_t* b, std::int8_t* out) {
            if (to_made.shift <= 0) return kernels.multiply_bytes(by, a, b, out, index(places.channels));
            for (int c = 0; c < places.channels; ++c) {
                const std::int64_t product = std::int64_t{a[c] - by.zero_points[0]} * (b[c] - by.zero_points[1]);
                out[c] = to_byte(scaled(product, to_made) + by.zero_point);
            }
        });
    }
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

/// By a table of what each of the 256 integers becomes, which begins with that of -128.
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
