// Operators on one number at a time: sums, products, activations, and the ways between floats and integers. Their factors are
// found when a file is opened.
#include "../operators/elementwise.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <vector>

#include "step.hpp"

namespace mobilenets {
namespace {

std::size_t row_numbers(const Value& value) { return index(value.width()) * index(value.channels()); }

// ---- sums

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

class ByteAddStep final : public Step {
public:
    ByteAddStep(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : kernels_(kernels), sum_(sum_of(graph, operation)), numbers_(row_numbers(graph.output(operation))) {
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

    Span needed(std::size_t, Span rows) const override { return rows; }

    void compute(const Job& job) const override {
        if (by_) return ByteAdd{*by_, numbers_}.compute(kernels_, job);
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            const auto *a = job.inputs[0].numbers<std::int8_t>(y), *b = job.inputs[1].numbers<std::int8_t>(y);
            auto* out = job.outputs[0].numbers<std::int8_t>(y);
            for (std::size_t i = 0; i < numbers_; ++i) out[i] = sum_.of(a[i], b[i]);
        }
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

    const Kernels& kernels_;
    ByteSum sum_;
    std::size_t numbers_;                // of a row
    std::optional<ByteCombination> by_;  // none where a factor grows what it multiplies
};

// ---- products of two maps, or of a map and one number for each channel

ProductPlaces places_of(const Graph& graph, const Operator& operation) {
    const Value& made = graph.output(operation);
    return {made.width(), made.channels(), graph.input(operation, 1).shape != made.shape};
}

/// `Of` is FloatMultiply or ByteMultiply.
template <class Of>
class MultiplyStep final : public Step {
public:
    MultiplyStep(const Of& of, const Kernels& kernels) : of_(of), kernels_(kernels) {}

    Span needed(std::size_t input, Span rows) const override { return of_.places.needed(static_cast<int>(input), rows); }
    void compute(const Job& job) const override { of_.compute(kernels_, job); }

private:
    Of of_;
    const Kernels& kernels_;
};

ByteMultiply byte_multiply(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    const Value &first = graph.input(operation), &second = graph.input(operation, 1), &made = graph.output(operation);
    const Factor by = factor(static_cast<double>(first.scale() * second.scale() / made.scale()));
    ByteMultiply of{places_of(graph, operation), {}, by};
    of.by.zero_points[0] = first.zero_point(), of.by.zero_points[1] = second.zero_point(), of.by.zero_point = made.zero_point();
    const auto shrinks = shrinking(by);
    if (!shrinks) return of;
    of.by.to_made = *shrinks;
    if (!kernels.has_reals) return of;
    const Real real = real_of(by, made.zero_point(), true, 255 * 255);
    of.by.in_reals = real.holds;
    of.by.factors[0] = real.factor, of.by.half = real.half;
    return of;
}

// ---- one number to one number

/// What each of the 256 integers becomes.
using ByteCurve = std::array<std::int8_t, 256>;

template <typename Of>
ByteCurve byte_curve(const Of& of) {
    ByteCurve curve{};
    for (int i = 0; i < 256; ++i) curve[static_cast<std::size_t>(i)] = of(i - 128);
    return curve;
}

class ByteTableStep final : public Step {
public:
    ByteTableStep(const Value& made, const Kernels& kernels, const ByteCurve& curve)
        : kernels_(kernels), numbers_(row_numbers(made)), curve_(curve) {}

    Span needed(std::size_t, Span rows) const override { return rows; }
    void compute(const Job& job) const override { ByteTable{curve_.data(), numbers_}.compute(kernels_, job); }

private:
    const Kernels& kernels_;
    std::size_t numbers_;  // of a row
    ByteCurve curve_;
};

ByteCurve rescaled_curve(const Value& read, const Value& made, Curve curve) {
    const Factor by = factor(static_cast<double>(read.scale()) / static_cast<double>(made.scale()));
    const ByteBounds bounds = byte_bounds(curve, made.quantization);
    return byte_curve([&](int number) {
        return to_byte(scaled(number - read.zero_point(), by) + made.zero_point(), bounds.low, bounds.high);
    });
}

/// relu6(x + 3) at six times the scale made: the same integers are then a sixth of it.
ByteCurve hard_sigmoid_curve(const Value& read, const Value& made) {
    constexpr float three = 3.0F / highest;  // the scale at which the greatest integer stands for 3
    const Quantization six_times{{static_cast<float>(6.0 * static_cast<double>(made.scale()))}, made.zero_point()};
    const ByteSum sum(read.scale(), read.zero_point(), three, 0, six_times, Curve::relu6);
    return byte_curve([&](int number) { return sum.of(static_cast<std::int8_t>(number), highest); });
}

ByteCurve curve_of(const Graph& graph, const Operator& activation) {
    const Value &read = graph.input(activation), &made = graph.output(activation);
    if (activation.curve == Curve::relu || activation.curve == Curve::relu6)
        return rescaled_curve(read, made, activation.curve);
    if (activation.curve == Curve::hard_sigmoid) return hard_sigmoid_curve(read, made);
    return byte_curve([&](int number) {
        const float real = read.scale() * static_cast<float>(number - read.zero_point());
        return quantized(curve_of(activation.curve, real), made.scale(), made.zero_point());
    });
}

// ---- a number times its own curve, as hard-swish is written: together they are one curve

/// The activation that makes the second factor of a product from the first; none if it is another value.
const Operator* own_gate(const Graph& graph, const Operator& product) {
    const auto is_gate = [&](const Operator& other) {
        return other.kind == Kind::activation && other.outputs[0] == product.inputs[1] && other.inputs[0] == product.inputs[0];
    };
    const auto found = std::find_if(graph.operators.begin(), graph.operators.end(), is_gate);
    return found == graph.operators.end() ? nullptr : &*found;
}

/// Whether nothing reads what an activation makes but products that are curves themselves.
bool is_never_read(const Graph& graph, const Operator& activation) {
    const int value = activation.outputs[0];
    const auto shares = [&](int other) { return graph.values[index(other)].source == value; };
    return std::none_of(graph.outputs.begin(), graph.outputs.end(), [&](const Output& output) { return shares(output.value); }) &&
           std::all_of(graph.operators.begin(), graph.operators.end(), [&](const Operator& other) {
               return std::none_of(other.inputs.begin(), other.inputs.end(), shares) ||
                      (other.kind == Kind::multiply && own_gate(graph, other) == &activation);
           });
}

ByteCurve product_curve(const ByteMultiply& product, const ByteCurve& gate) {
    return byte_curve([&](int number) { return product.of(static_cast<std::int8_t>(number), gate[index(number + 128)]); });
}

/// Makes nothing, because nobody reads it.
class Unread final : public Step {
public:
    Span needed(std::size_t, Span rows) const override { return rows; }
    void compute(const Job&) const override {}
};

class Quantize final : public Step {
public:
    Quantize(const Value& made, const Kernels& kernels)
        : kernels_(kernels),
          numbers_(row_numbers(made)),
          channels_(made.channels()),
          scale_(made.scale()),
          zero_point_(made.zero_point()) {}

    Span needed(std::size_t, Span rows) const override { return rows; }

    void compute(const Job& job) const override {
        for (int y = job.rows.from; y < job.rows.to; ++y) compute_row(job, y);
    }

private:
    void compute_row(const Job& job, int y) const {
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
    std::size_t numbers_;  // of a row
    int channels_;
    float scale_;
    int zero_point_;
};

}  // namespace

Made make_add(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    const Value& made = graph.output(operation);
    if (made.quantized()) return std::make_unique<ByteAddStep>(graph, operation, kernels);
    return std::make_unique<RowByRow<FloatAdd>>(FloatAdd{row_numbers(made), operation.curve}, kernels);
}

Made make_multiply(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    const Value& made = graph.output(operation);
    if (!made.quantized())
        return std::make_unique<MultiplyStep<FloatMultiply>>(FloatMultiply{places_of(graph, operation)}, kernels);
    const ByteMultiply product = byte_multiply(graph, operation, kernels);
    if (const Operator* gate = own_gate(graph, operation))
        return std::make_unique<ByteTableStep>(made, kernels, product_curve(product, curve_of(graph, *gate)));
    return std::make_unique<MultiplyStep<ByteMultiply>>(product, kernels);
}

Made make_activation(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    const Value& made = graph.output(operation);
    if (!made.quantized())
        return std::make_unique<RowByRow<FloatActivation>>(FloatActivation{row_numbers(made), operation.curve}, kernels);
    if (is_never_read(graph, operation)) return std::make_unique<Unread>();
    return std::make_unique<ByteTableStep>(made, kernels, curve_of(graph, operation));
}

Made make_quantize(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    const Value &read = graph.input(operation), &made = graph.output(operation);
    if (read.quantized()) return std::make_unique<ByteTableStep>(made, kernels, rescaled_curve(read, made, Curve::linear));
    return std::make_unique<Quantize>(made, kernels);
}

Made make_dequantize(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    const Value& read = graph.input(operation);
    return std::make_unique<RowByRow<Dequantize>>(Dequantize{row_numbers(read), read.scale(), read.zero_point()}, kernels);
}

}  // namespace mobilenets
