// Operators on one number at a time: sums, products, activations, and the ways between floats and integers.
#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <vector>

#include "../arithmetic.hpp"
#include "step.hpp"

namespace mobilenets {
namespace {

/// A step whose every row is made of the same row of each input.
class RowByRow : public Step {
public:
    explicit RowByRow(const Value& made)
        : numbers_(static_cast<std::size_t>(made.width()) * static_cast<std::size_t>(made.channels())) {}

    Span needed(std::size_t, Span rows) const override { return rows; }

    void compute(const Job& job) const override {
        for (int y = job.rows.from; y < job.rows.to; ++y) compute_row(job, y);
    }

protected:
    virtual void compute_row(const Job& job, int y) const = 0;

    std::size_t numbers_;  // of a row
};

// ---- sums

class FloatAdd final : public RowByRow {
public:
    FloatAdd(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : RowByRow(graph.output(operation)), kernels_(kernels), curve_(operation.curve) {}

private:
    void compute_row(const Job& job, int y) const override {
        float* out = job.outputs[0].numbers<float>(y);
        kernels_.add_floats(job.inputs[0].numbers<float>(y), job.inputs[1].numbers<float>(y), out, numbers_, clip_of(curve_));
        if (is_applied_by_kernels(curve_)) return;
        for (std::size_t i = 0; i < numbers_; ++i) out[i] = curve_of(curve_, out[i]);
    }

    const Kernels& kernels_;
    Curve curve_;
};

/// Both numbers are brought to one scale, twice the larger, with 20 more bits; their sum is rounded to the scale made.
struct ByteSum {
    static constexpr int bits = ByteCombination::bits;

    ByteSum(float first, int first_zero, float second, int second_zero, const Quantization& made, Curve curve)
        : bounds(byte_bounds(curve, made)), zero_point(made.zero_point) {
        const double common = 2.0 * static_cast<double>(std::max(first, second));
        factors = {factor(static_cast<double>(first) / common), factor(static_cast<double>(second) / common)};
        tables = {table(factors[0], first_zero), table(factors[1], second_zero)};
        by = factor(common / (static_cast<double>(1 << bits) * static_cast<double>(made.scales[0])));
    }

    /// The sum at the scale made, before the zero point is added.
    std::int64_t exact(std::int8_t a, std::int8_t b) const {
        const std::int64_t total =
            std::int64_t{tables[0][static_cast<std::size_t>(a + 128)]} + tables[1][static_cast<std::size_t>(b + 128)];
        return scaled(total, by);
    }
    std::int8_t of(std::int8_t a, std::int8_t b) const { return to_byte(exact(a, b) + zero_point, bounds.low, bounds.high); }

    using Table = std::array<std::int32_t, 256>;  // of what each integer becomes at the common scale

    std::array<Factor, 2> factors;
    std::array<Table, 2> tables;
    Factor by;
    ByteBounds bounds;
    int zero_point;

private:
    static Table table(Factor by, int zero_point) {
        Table made{};
        for (int i = 0; i < 256; ++i) {
            made[static_cast<std::size_t>(i)] =
                static_cast<std::int32_t>(scaled(std::int64_t{i - 128 - zero_point} * (1 << bits), by));
        }
        return made;
    }
};

/// A factor as vector kernels want it; none if its shift is positive.
std::optional<Shrinking> shrinking(Factor by) {
    if (by.shift > 0) return std::nullopt;
    return Shrinking{by.mantissa, -by.shift};
}

class ByteAdd final : public RowByRow {
public:
    ByteAdd(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : RowByRow(graph.output(operation)), kernels_(kernels), sum_(sum_of(graph, operation)) {
        const Value &first = graph.input(operation), &second = graph.input(operation, 1);
        const auto made = shrinking(sum_.by), a = shrinking(sum_.factors[0]), b = shrinking(sum_.factors[1]);
        if (!made || !a || !b) return;
        by_ = ByteCombination{{first.zero_point(), second.zero_point()},
                              {*a, *b},
                              *made,
                              false,
                              {},
                              0,
                              sum_.zero_point,
                              sum_.bounds.low,
                              sum_.bounds.high};
        if (kernels.has_reals) find_reals(first.scale(), second.scale(), graph.output(operation).scale());
    }

private:
    /// Factors in floats whose sum, rounded down, is the exact result for every pair of bytes, if there are such among the
    /// neighbors of the true ones.
    void find_reals(float first, float second, float made) {
        std::vector<double> exact;
        for (int a = lowest; a <= highest; ++a) {
            for (int b = lowest; b <= highest; ++b)
                exact.push_back(static_cast<double>(sum_.exact(static_cast<std::int8_t>(a), static_cast<std::int8_t>(b))));
        }
        for (const float a : neighbors(first / made)) {
            for (const float b : neighbors(second / made)) {
                const float half = half_of(exact, a, b);
                if (!holds(exact, a, b, half)) continue;
                by_->in_reals = true;
                by_->factors[0] = a, by_->factors[1] = b, by_->half = half;
                return;
            }
        }
    }

    static std::array<float, 3> neighbors(float x) { return {x, std::nextafter(x, 0.0F), std::nextafter(x, 2 * x)}; }

    /// In the middle of what may be added to all sums.
    static float half_of(const std::vector<double>& exact, double a, double b) {
        double from = -1000, to = 1000;
        for (int i = 0; i < 1 << 16; ++i) {
            const double left = exact[static_cast<std::size_t>(i)] - (a * (i / 256 + lowest) + b * (i % 256 + lowest));
            from = std::max(from, left), to = std::min(to, left + 1);
        }
        return static_cast<float>((from + to) / 2);
    }

    /// Whether the sums are exact as a processor rounds them.
    static bool holds(const std::vector<double>& exact, double a, float b, float half) {
        std::array<double, 256> rest{};
        for (int i = 0; i < 256; ++i)
            rest[static_cast<std::size_t>(i)] = static_cast<double>(std::fma(static_cast<float>(i + lowest), b, half));
        for (int i = 0; i < 1 << 16; ++i) {
            const double over =
                a * (i / 256 + lowest) + rest[static_cast<std::size_t>(i % 256)] - exact[static_cast<std::size_t>(i)];
            if (over < 0 || over >= 1) return false;
        }
        return true;
    }

    static ByteSum sum_of(const Graph& graph, const Operator& operation) {
        const Value &first = graph.input(operation), &second = graph.input(operation, 1);
        return {first.scale(),  first.zero_point(), second.scale(), second.zero_point(), graph.output(operation).quantization,
                operation.curve};
    }

    void compute_row(const Job& job, int y) const override {
        const auto *a = job.inputs[0].numbers<std::int8_t>(y), *b = job.inputs[1].numbers<std::int8_t>(y);
        auto* out = job.outputs[0].numbers<std::int8_t>(y);
        if (by_) return kernels_.add_bytes(*by_, a, b, out, numbers_);
        for (std::size_t i = 0; i < numbers_; ++i) out[i] = sum_.of(a[i], b[i]);
    }

    const Kernels& kernels_;
    ByteSum sum_;
    std::optional<ByteCombination> by_;  // none where a factor grows what it multiplies
};

// ---- products of two maps, or of a map and one number for each channel

class Multiply : public Step {
public:
    Multiply(const Graph& graph, const Operator& operation) {
        const Value& made = graph.output(operation);
        width_ = made.width();
        channels_ = static_cast<std::size_t>(made.channels());
        is_gate_ = graph.input(operation, 1).shape != made.shape;
    }

    Span needed(std::size_t input, Span rows) const override { return input == 1 && is_gate_ ? Span{0, 1} : rows; }

    void compute(const Job& job) const override {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            for (int x = 0; x < width_; ++x) {
                const std::size_t at = static_cast<std::size_t>(x) * channels_;
                compute_place(job, y, at, is_gate_ ? 0 : y, is_gate_ ? 0 : at);
            }
        }
    }

protected:
    virtual void compute_place(const Job& job, int y, std::size_t at, int other_y, std::size_t other_at) const = 0;

    int width_ = 1;
    std::size_t channels_ = 1;
    bool is_gate_ = false;
};

class FloatMultiply final : public Multiply {
public:
    FloatMultiply(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : Multiply(graph, operation), kernels_(kernels) {}

private:
    void compute_place(const Job& job, int y, std::size_t at, int other_y, std::size_t other_at) const override {
        kernels_.multiply_floats(job.inputs[0].numbers<float>(y) + at, job.inputs[1].numbers<float>(other_y) + other_at,
                                 job.outputs[0].numbers<float>(y) + at, channels_);
    }

    const Kernels& kernels_;
};

class ByteMultiply final : public Multiply {
public:
    ByteMultiply(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : Multiply(graph, operation), kernels_(kernels) {
        const Value &first = graph.input(operation), &second = graph.input(operation, 1), &made = graph.output(operation);
        zeros_ = {first.zero_point(), second.zero_point(), made.zero_point()};
        by_ = factor(static_cast<double>(first.scale() * second.scale() / made.scale()));
        if (const auto shrinks = shrinking(by_))
            combination_ = ByteCombination{{zeros_[0], zeros_[1]}, {}, *shrinks, false, {}, 0, zeros_[2]};
        if (!combination_ || !kernels.has_reals) return;
        const Real real = real_of(by_, zeros_[2], true, 255 * 255);
        combination_->in_reals = real.holds;
        combination_->factors[0] = real.factor, combination_->half = real.half;
    }

private:
    void compute_place(const Job& job, int y, std::size_t at, int other_y, std::size_t other_at) const override {
        const auto* a = job.inputs[0].numbers<std::int8_t>(y) + at;
        const auto* b = job.inputs[1].numbers<std::int8_t>(other_y) + other_at;
        auto* out = job.outputs[0].numbers<std::int8_t>(y) + at;
        if (combination_) return kernels_.multiply_bytes(*combination_, a, b, out, channels_);
        for (std::size_t c = 0; c < channels_; ++c) {
            out[c] = to_byte(scaled(std::int64_t{a[c] - zeros_[0]} * (b[c] - zeros_[1]), by_) + zeros_[2]);
        }
    }

    const Kernels& kernels_;
    std::array<int, 3> zeros_{};
    Factor by_;
    std::optional<ByteCombination> combination_;  // none where the factor grows what it multiplies
};

// ---- one number to one number

class FloatActivation final : public RowByRow {
public:
    FloatActivation(const Graph& graph, const Operator& operation)
        : RowByRow(graph.output(operation)), curve_(operation.curve) {}

private:
    void compute_row(const Job& job, int y) const override {
        const float* in = job.inputs[0].numbers<float>(y);
        float* out = job.outputs[0].numbers<float>(y);
        for (std::size_t i = 0; i < numbers_; ++i) out[i] = curve_of(curve_, in[i]);
    }

    Curve curve_;
};

/// By a table of what each of the 256 integers becomes.
class ByteTable final : public RowByRow {
public:
    template <typename Of>
    ByteTable(const Value& made, const Kernels& kernels, const Of& of) : RowByRow(made), kernels_(kernels) {
        for (int i = 0; i < 256; ++i) table_[static_cast<std::size_t>(i)] = of(i - 128);
    }

private:
    void compute_row(const Job& job, int y) const override {
        const auto* in = job.inputs[0].numbers<std::int8_t>(y);
        auto* out = job.outputs[0].numbers<std::int8_t>(y);
        kernels_.look_up(table_.data(), in, out, numbers_);
    }

    const Kernels& kernels_;
    std::array<std::int8_t, 256> table_{};
};

Made make_rescaled(const Value& read, const Value& made, Curve curve, const Kernels& kernels) {
    const Factor by = factor(static_cast<double>(read.scale()) / static_cast<double>(made.scale()));
    const ByteBounds bounds = byte_bounds(curve, made.quantization);
    return std::make_unique<ByteTable>(made, kernels, [&](int number) {
        return to_byte(scaled(number - read.zero_point(), by) + made.zero_point(), bounds.low, bounds.high);
    });
}

/// relu6(x + 3) at six times the scale made: the same integers are then a sixth of it.
Made make_hard_sigmoid(const Value& read, const Value& made, const Kernels& kernels) {
    constexpr float three = 3.0F / highest;  // the scale at which the greatest integer stands for 3
    const Quantization six_times{{static_cast<float>(6.0 * static_cast<double>(made.scale()))}, made.zero_point()};
    const ByteSum sum(read.scale(), read.zero_point(), three, 0, six_times, Curve::relu6);
    return std::make_unique<ByteTable>(made, kernels,
                                       [&](int number) { return sum.of(static_cast<std::int8_t>(number), highest); });
}

class Quantize final : public RowByRow {
public:
    Quantize(const Value& made, const Kernels& kernels)
        : RowByRow(made), kernels_(kernels), channels_(made.channels()), scale_(made.scale()), zero_point_(made.zero_point()) {}

private:
    void compute_row(const Job& job, int y) const override {
        const Rows& in = job.inputs[0];
        auto* out = job.outputs[0].numbers<std::int8_t>(y);
        if (in.plane_bytes == 0) return kernels_.quantize(in.numbers<float>(y), scale_, zero_point_, out, numbers_);
        const std::size_t columns = numbers_ / static_cast<std::size_t>(channels_);
        const auto plane = [&](int c) {
            return reinterpret_cast<const float*>(in.at(y) + static_cast<std::size_t>(c) * in.plane_bytes);
        };
        if (channels_ == 1) return kernels_.quantize(plane(0), scale_, zero_point_, out, numbers_);
        if (channels_ == 3) {
            const float* planes[] = {plane(0), plane(1), plane(2)};
            return kernels_.quantize_colors(planes, scale_, zero_point_, out, columns);
        }
        for (int c = 0; c < channels_; ++c) {
            const float* numbers = plane(c);
            for (std::size_t x = 0; x < columns; ++x)
                out[x * static_cast<std::size_t>(channels_) + static_cast<std::size_t>(c)] =
                    quantized(numbers[x], scale_, zero_point_);
        }
    }

    const Kernels& kernels_;
    int channels_;
    float scale_;
    int zero_point_;
};

class Dequantize final : public RowByRow {
public:
    explicit Dequantize(const Value& read) : RowByRow(read), scale_(read.scale()), zero_point_(read.zero_point()) {}

private:
    void compute_row(const Job& job, int y) const override {
        const auto* in = job.inputs[0].numbers<std::int8_t>(y);
        float* out = job.outputs[0].numbers<float>(y);
        for (std::size_t i = 0; i < numbers_; ++i) out[i] = scale_ * static_cast<float>(in[i] - zero_point_);
    }

    float scale_;
    int zero_point_;
};

}  // namespace

Made make_add(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    if (graph.output(operation).quantized()) return std::make_unique<ByteAdd>(graph, operation, kernels);
    return std::make_unique<FloatAdd>(graph, operation, kernels);
}

Made make_multiply(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    if (graph.output(operation).quantized()) return std::make_unique<ByteMultiply>(graph, operation, kernels);
    return std::make_unique<FloatMultiply>(graph, operation, kernels);
}

Made make_activation(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    const Value &read = graph.input(operation), &made = graph.output(operation);
    if (!made.quantized()) return std::make_unique<FloatActivation>(graph, operation);
    if (operation.curve == Curve::relu || operation.curve == Curve::relu6)
        return make_rescaled(read, made, operation.curve, kernels);
    if (operation.curve == Curve::hard_sigmoid) return make_hard_sigmoid(read, made, kernels);
    return std::make_unique<ByteTable>(made, kernels, [&](int number) {
        const float real = read.scale() * static_cast<float>(number - read.zero_point());
        return quantized(curve_of(operation.curve, real), made.scale(), made.zero_point());
    });
}

Made make_quantize(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    const Value &read = graph.input(operation), &made = graph.output(operation);
    if (read.quantized()) return make_rescaled(read, made, Curve::linear, kernels);
    return std::make_unique<Quantize>(made, kernels);
}

Made make_dequantize(const Graph& graph, const Operator& operation, const Kernels&) {
    return std::make_unique<Dequantize>(graph.input(operation));
}

}  // namespace mobilenets
