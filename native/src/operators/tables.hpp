// Operators on tables, for attention and scores: matrix products and softmax. Plain code, since they are small.
#pragma once

#include "rows.hpp"

namespace mobilenets {

/// Two tables, P K and K Q.
struct Tables {
    int inner = 1, columns = 1;  // K and Q
    bool transposed = false;     // whether the second is Q K

    /// Calls `take(column, sum)` for each product of a row of the first with a column of the second.
    template <typename Number, typename Sum, typename Take>
    void each(const Job& job, int y, Sum first_zero, Sum second_zero, const Take& take) const {
        const Number* a = job.inputs[0].template numbers<Number>(y);
        const Number* second = job.inputs[1].template numbers<Number>(0);
        const std::size_t row = job.inputs[1].row_bytes / sizeof(Number);
        const std::size_t next_column = transposed ? row : 1, next = transposed ? 1 : row;
        for (int column = 0; column < columns; ++column) {
            const Number* b = second + index(column) * next_column;
            Sum sum = 0;
            for (int k = 0; k < inner; ++k) {
                sum += (static_cast<Sum>(a[k]) - first_zero) * (static_cast<Sum>(b[index(k) * next]) - second_zero);
            }
            take(column, sum);
        }
    }
};

struct FloatMatMul {
    Tables tables;
    float factor = 1;

    template <class Kernels>
    void compute(const Kernels&, const Job& job) const {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            float* out = job.outputs[0].numbers<float>(y);
            tables.each<float, float>(job, y, 0, 0, [&](int column, float sum) { out[column] = sum * factor; });
        }
    }
};

struct ByteMatMul {
    Tables tables;
    int zero_points[2] = {0, 0};  // of what is read
    Factor by;
    int zero_point = 0;

    template <class Kernels>
    void compute(const Kernels&, const Job& job) const {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            auto* out = job.outputs[0].numbers<std::int8_t>(y);
            tables.each<std::int8_t, std::int32_t>(job, y, zero_points[0], zero_points[1], [&](int column, std::int32_t sum) {
                out[column] = to_byte(scaled(sum, by) + zero_point);
            });
        }
    }
};

/// Softmax in place.
inline void share_out(float* numbers, int count) {
    float most = numbers[0], total = 0;
    for (int i = 1; i < count; ++i) most = larger(most, numbers[i]);
    for (int i = 0; i < count; ++i) total += numbers[i] = __builtin_expf(numbers[i] - most);
    for (int i = 0; i < count; ++i) numbers[i] /= total;
}

/// Softmax of each row.
struct FloatSoftmax {
    int columns = 1;

    template <class Kernels>
    void compute(const Kernels&, const Job& job) const {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            float* shares = job.outputs[0].numbers<float>(y);
            __builtin_memcpy(shares, job.inputs[0].numbers<float>(y), sizeof(float) * index(columns));
            share_out(shares, columns);
        }
    }
};

struct ByteSoftmax {
    int columns = 1;
    float scale = 1, made_scale = 1;
    int zero_point = 0, made_zero_point = 0;

    constexpr std::size_t scratch_bytes() const { return sizeof(float) * index(columns); }

    template <class Kernels>
    void compute(const Kernels&, const Job& job) const {
        auto* shares = reinterpret_cast<float*>(job.scratch);
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            const auto* in = job.inputs[0].numbers<std::int8_t>(y);
            auto* out = job.outputs[0].numbers<std::int8_t>(y);
            for (int i = 0; i < columns; ++i) shares[i] = scale * static_cast<float>(in[i] - zero_point);
            share_out(shares, columns);
            for (int i = 0; i < columns; ++i) out[i] = quantized(shares[i], made_scale, made_zero_point);
        }
    }
};

}  // namespace mobilenets
