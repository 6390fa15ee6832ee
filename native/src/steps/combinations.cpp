// Sums and products of two values; their factors are computed when a file is opened.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "byte_curves.hpp"

namespace mobilenets {
namespace {

/// A factor in the form for vector kernels; none if its shift is positive.
std::optional<Shrinking> shrinking(Factor by) {
    if (by.shift > 0) return std::nullopt;
    return Shrinking{by.mantissa, -by.shift};
}

std::array<float, 3> neighbors(float x) { return {x, std::nextafter(x, 0.0F), std::nextafter(x, 2 * x)}; }

constexpr int pairs = 1 << 16;  // of two bytes
constexpr float infinity = std::numeric_limits<float>::infinity();

/// The interval that the result before truncation must be in, for every pair of bytes. A result at the end of the 8-bit range
/// may be anywhere beyond it.
class Wanted {
public:
    /// `exact(a, b)` is the result before the zero point is added.
    template <typename Exact>
    Wanted(int zero_point, ByteBounds bounds, const Exact& exact)
        : low_(bounds.low - zero_point), high_(bounds.high - zero_point) {
        for (int i = 0; i < pairs; ++i)
            results_[index(i)] = static_cast<std::int16_t>(within<std::int64_t>(exact(first(i), second(i)), low_, high_));
    }

    static int first(int pair) { return pair / 256 + lowest; }
    static int second(int pair) { return pair % 256 + lowest; }
    double least(int pair) const { return results_[index(pair)] <= low_ ? -infinity : results_[index(pair)]; }
    double beyond(int pair) const { return results_[index(pair)] >= high_ ? infinity : results_[index(pair)] + 1; }

private:
    int low_, high_;
    std::vector<std::int16_t> results_ = std::vector<std::int16_t>(pairs);
};

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
    /// Searches the neighbors of the true factors for float factors whose sum, rounded down, is exact for every pair of bytes.
    void find_reals(float first, float second, float made) {
        const Wanted wanted(sum_.zero_point, sum_.bounds, [&](int a, int b) { return sum_.exact(a, b); });
        for (const float a : neighbors(first / made)) {
            for (const float b : neighbors(second / made)) {
                const auto [from, to] = room_for_half(wanted, a, b);
                for (int part = 1; part < parts && from < to; ++part) {
                    const auto half = static_cast<float>(from + (to - from) * part / parts);
                    if (!holds(wanted, a, b, half)) continue;
                    by_->in_reals = true;
                    by_->factors[0] = a, by_->factors[1] = b, by_->half = half;
                    return;
                }
            }
        }
    }

    static constexpr int parts = 8;  // number of candidates for `half` within its interval

    /// The interval of `half` for which all sums would be right if computed exactly.
    static std::pair<double, double> room_for_half(const Wanted& wanted, double a, double b) {
        double from = -1000, to = 1000;
        for (int i = 0; i < pairs; ++i) {
            const double sum = a * Wanted::first(i) + b * Wanted::second(i);
            from = std::max(from, wanted.least(i) - sum), to = std::min(to, wanted.beyond(i) - sum);
        }
        return {from, to};
    }

    /// Whether all results are right with the rounding of a processor.
    bool holds(const Wanted& wanted, double a, float b, float half) const {
        std::array<double, 256> rest{};
        for (int i = 0; i < 256; ++i) {
            const double exact = static_cast<double>(b) * Wanted::second(i) + static_cast<double>(half);
            float rounded = std::fma(static_cast<float>(Wanted::second(i)), b, half);
            if (kernels_.rounds_down && static_cast<double>(rounded) > exact) rounded = std::nextafter(rounded, -infinity);
            rest[index(i)] = static_cast<double>(rounded);
        }
        for (int i = 0; i < pairs; ++i) {
            const double sum = a * Wanted::first(i) + rest[index(i % 256)];
            if (sum < wanted.least(i) || sum >= wanted.beyond(i)) return false;
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
    std::optional<ByteCombination> by_;  // none if a factor has a positive shift
};

// ---- products of two feature maps, or of a feature map and one number per channel

ProductPlaces places_of(const Graph& graph, const Operator& operation) {
    const Value& made = graph.output(operation);
    const bool is_gate = graph.input(operation, 1).shape != made.shape;
    const int together = std::clamp(ProductPlaces::most_together / made.channels(), 1, made.width());
    return {made.width(), made.channels(), is_gate, is_gate ? together : 1};
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

/// Searches for a float factor with which every product of two bytes is exact, after adding a half with its sign and
/// truncation.
void find_reals(ByteMultiply& of, const Graph& graph, const Operator& operation) {
    const Value &first = graph.input(operation), &second = graph.input(operation, 1), &made = graph.output(operation);
    const Wanted wanted(made.zero_point(), {}, [&](int a, int b) { return of.exact(a, b); });
    for (const float factor : neighbors(first.scale() * second.scale() / made.scale())) {
        double from = 0, to = 1;
        for (int i = 0; i < pairs; ++i) {
            const int number = of.product(Wanted::first(i), Wanted::second(i));
            const double product = static_cast<double>(factor) * number;
            if (number > 0) from = std::max(from, wanted.least(i) - product), to = std::min(to, wanted.beyond(i) - product);
            if (number < 0)
                from = std::max(from, product - wanted.beyond(i) + 1), to = std::min(to, product - wanted.least(i) + 1);
        }
        const auto half = static_cast<float>((from + to) / 2);
        if (!(static_cast<double>(half) > from && static_cast<double>(half) < to)) continue;
        of.by.in_reals = true;
        of.by.factors[0] = factor, of.by.half = half;
        return;
    }
}

ByteMultiply byte_multiply(const Graph& graph, const Operator& operation) {
    const Value &first = graph.input(operation), &second = graph.input(operation, 1), &made = graph.output(operation);
    const Factor by = factor(static_cast<double>(first.scale() * second.scale() / made.scale()));
    ByteMultiply of{places_of(graph, operation), {}, by};
    of.by.zero_points[0] = first.zero_point(), of.by.zero_points[1] = second.zero_point(), of.by.zero_point = made.zero_point();
    if (const auto shrinks = shrinking(by)) of.by.to_made = *shrinks;
    return of;
}

ByteCurve product_curve(const ByteMultiply& product, const ByteCurve& gate) {
    return byte_curve([&](int number) { return product.of(static_cast<std::int8_t>(number), gate[index(number + 128)]); });
}

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
    ByteMultiply product = byte_multiply(graph, operation);
    if (const Operator* gate = own_gate(graph, operation))
        return std::make_unique<ByteTableStep>(made, kernels, product_curve(product, curve_of(graph, *gate)));
    if (kernels.has_reals && product.to_made.shift <= 0) find_reals(product, graph, operation);
    return std::make_unique<MultiplyStep<ByteMultiply>>(product, kernels);
}

}  // namespace mobilenets
