// Operators on tables of rows, for attention and scores: products of two tables, and softmax. Plain code; they are small.
#include <array>
#include <cmath>

#include "../errors.hpp"
#include "step.hpp"

namespace mobilenets {
namespace {

class MatMul : public Step {
public:
    MatMul(const Graph& graph, const Operator& operation) : transposed_(operation.transposed) {
        inner_ = graph.input(operation).channels();
        columns_ = graph.output(operation).channels();
        height_ = graph.input(operation, 1).height();
    }

    Span needed(std::size_t input, Span rows) const override { return input == 0 ? rows : Span{0, height_}; }

protected:
    /// The sums of one row of products, for numbers of one type; `Sum` adds them up.
    template <typename Number, typename Sum, typename Take>
    void sum_row(const Job& job, int y, int first_zero, int second_zero, const Take& take) const {
        const Number* a = job.inputs[0].numbers<Number>(y);
        for (int column = 0; column < columns_; ++column) {
            Sum sum = 0;
            for (int k = 0; k < inner_; ++k) {
                const Number b =
                    transposed_ ? job.inputs[1].numbers<Number>(column)[k] : job.inputs[1].numbers<Number>(k)[column];
                sum += (static_cast<Sum>(a[k]) - static_cast<Sum>(first_zero)) *
                       (static_cast<Sum>(b) - static_cast<Sum>(second_zero));
            }
            take(column, sum);
        }
    }

    bool transposed_;
    int inner_ = 1, columns_ = 1, height_ = 1;
};

class FloatMatMul final : public MatMul {
public:
    FloatMatMul(const Graph& graph, const Operator& operation)
        : MatMul(graph, operation), factor_(static_cast<float>(operation.factor)) {}

    void compute(const Job& job) const override {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            float* out = job.outputs[0].numbers<float>(y);
            sum_row<float, float>(job, y, 0, 0, [&](int column, float sum) { out[column] = sum * factor_; });
        }
    }

private:
    float factor_;
};

class ByteMatMul final : public MatMul {
public:
    ByteMatMul(const Graph& graph, const Operator& operation) : MatMul(graph, operation) {
        const Value &first = graph.input(operation), &second = graph.input(operation, 1), &made = graph.output(operation);
        if (inner_ > INT32_MAX / (255 * 255))
            throw GraphError("'" + operation.name + "' has sums that do not fit into 32 bits");
        zeros_ = {first.zero_point(), second.zero_point(), made.zero_point()};
        by_ = factor(static_cast<double>(first.scale()) * static_cast<double>(second.scale()) /
                     static_cast<double>(made.scale()));
    }

    void compute(const Job& job) const override {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            auto* out = job.outputs[0].numbers<std::int8_t>(y);
            sum_row<std::int8_t, std::int32_t>(job, y, zeros_[0], zeros_[1], [&](int column, std::int32_t sum) {
                out[column] = to_byte(scaled(sum, by_) + zeros_[2]);
            });
        }
    }

private:
    std::array<int, 3> zeros_{};
    Factor by_;
};

/// Shares of each row, which add up to 1.
class Softmax final : public Step {
public:
    Softmax(const Value& read, const Value& made)
        : columns_(made.channels()),
          is_bytes_(read.quantized()),
          scale_(is_bytes_ ? read.scale() : 1),
          zero_point_(is_bytes_ ? read.zero_point() : 0),
          made_scale_(is_bytes_ ? made.scale() : 1),
          made_zero_(is_bytes_ ? made.zero_point() : 0) {}

    Span needed(std::size_t, Span rows) const override { return rows; }
    std::size_t scratch_bytes() const override { return sizeof(float) * static_cast<std::size_t>(columns_); }

    void compute(const Job& job) const override {
        auto* shares = reinterpret_cast<float*>(job.scratch);
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            const auto* bytes = job.inputs[0].numbers<std::int8_t>(y);
            const auto* reals = job.inputs[0].numbers<float>(y);
            for (int i = 0; i < columns_; ++i)
                shares[i] = is_bytes_ ? scale_ * static_cast<float>(bytes[i] - zero_point_) : reals[i];
            const float most = *std::max_element(shares, shares + columns_);
            float total = 0;
            for (int i = 0; i < columns_; ++i) total += shares[i] = std::exp(shares[i] - most);
            for (int i = 0; i < columns_; ++i) {
                const float share = shares[i] / total;
                if (is_bytes_)
                    job.outputs[0].numbers<std::int8_t>(y)[i] = quantized(share, made_scale_, made_zero_);
                else
                    job.outputs[0].numbers<float>(y)[i] = share;
            }
        }
    }

private:
    int columns_;
    bool is_bytes_;
    float scale_;
    int zero_point_;
    float made_scale_;
    int made_zero_;
};

}  // namespace

Made make_matmul(const Graph& graph, const Operator& operation, const Kernels&) {
    if (graph.output(operation).quantized()) return std::make_unique<ByteMatMul>(graph, operation);
    return std::make_unique<FloatMatMul>(graph, operation);
}

Made make_softmax(const Graph& graph, const Operator& operation, const Kernels&) {
    return std::make_unique<Softmax>(graph.input(operation), graph.output(operation));
}

}  // namespace mobilenets
