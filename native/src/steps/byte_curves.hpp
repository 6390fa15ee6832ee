// Int8 functions of one integer as tables of 256 entries, and the sum of two integers.
#pragma once

#include <array>
#include <cstdint>

#include "../operators/elementwise.hpp"
#include "step.hpp"

namespace mobilenets {

inline std::size_t row_numbers(const Value& value) { return index(value.width()) * index(value.channels()); }

/// Rescales both numbers to a common scale, twice the larger, with 20 extra bits, and rescales their sum to the output.
struct ByteSum {
    static constexpr int bits = ByteCombination::bits;

    ByteSum(float first, int first_zero, float second, int second_zero, const Quantization& made, Curve curve)
        : bounds(byte_bounds(curve, made)), zero_point(made.zero_point) {
        const double common = 2.0 * static_cast<double>(std::max(first, second));
        factors = {factor(static_cast<double>(first) / common), factor(static_cast<double>(second) / common)};
        tables = {table(factors[0], first_zero), table(factors[1], second_zero)};
        by = factor(common / (static_cast<double>(1 << bits) * static_cast<double>(made.scales[0])));
    }

    /// The sum at the output scale, before the zero point is added.
    std::int64_t exact(int a, int b) const {
        const std::int64_t total =
            std::int64_t{tables[0][static_cast<std::size_t>(a + 128)]} + tables[1][static_cast<std::size_t>(b + 128)];
        return scaled(total, by);
    }
    std::int8_t of(std::int8_t a, std::int8_t b) const { return to_byte(exact(a, b) + zero_point, bounds.low, bounds.high); }

    using Table = std::array<std::int32_t, 256>;  // each integer at the common scale

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

/// A function of one 8-bit integer as a table of 256 entries.
using ByteCurve = std::array<std::int8_t, 256>;

/// Tabulates the function `of(integer)`.
template <typename Of>
ByteCurve byte_curve(const Of& of) {
    ByteCurve curve{};
    for (int i = 0; i < 256; ++i) curve[index(i)] = of(i + lowest);
    return curve;
}

/// The table of an int8 activation.
ByteCurve curve_of(const Graph& graph, const Operator& activation);

/// The activation that computes the second factor of a product from the first, as in hard swish; null if there is none. Such a
/// product is a function of one integer, too.
const Operator* own_gate(const Graph& graph, const Operator& product);

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

}  // namespace mobilenets
