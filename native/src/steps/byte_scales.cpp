// Factors, bias and bounds of integer operators with weights.
#include <cmath>
#include <cstdlib>

#include "../arithmetic.hpp"
#include "../errors.hpp"
#include "step.hpp"

namespace mobilenets {
namespace {

/// A factor in floats: a sum times it, plus or minus `half`, and cut off, is the integer that the specification asks for.
struct Real {
    float high = 0, low = 0, half = 0;
    bool holds = false;
};

/// The factor in floats, which holds for results of up to `most` in size; negative results count only if `is_signed`.
///
/// The specification rounds twice. For a positive sum x, the result is k or more from the least x with x * mantissa >= n(k),
/// where n(k) = (2k - 1) * 2**(30 + right) - 2**30; for negative sums it is the same, save that a sum which is just n(k) does
/// not reach it. The exact x * factor + half must therefore reach k for that x, and must not for x - 1. How far the sums are
/// from n(k), over all k, is what `half` may be between; if that leaves no room for the rounding of floats, the factor does not
/// hold.
Real real_of(Factor by, int most, bool is_signed) {
    constexpr int largest_right = 14;  // sums that floats do not represent are then beyond the largest result
    const int right = -by.shift;
    if (by.mantissa < 1 << 30 || right < 1 || right > largest_right) return {};
    const std::int64_t whole = std::int64_t{1} << (31 + right), mantissa = by.mantissa;
    const std::int64_t step = whole % mantissa;
    std::int64_t gap = (mantissa - (whole / 2 - (std::int64_t{1} << 30)) % mantissa) % mantissa;
    std::int64_t least = mantissa, greatest = 0;
    for (int k = 1; k <= most; ++k) {
        least = std::min(least, gap);
        greatest = std::max(greatest, gap == 0 && is_signed ? mantissa : gap);
        gap -= step;
        if (gap < 0) gap += mantissa;
    }
    const double unit = 1 / static_cast<double>(whole), middle = 0.5 + std::ldexp(0.5, -right);
    const double from = middle - static_cast<double>(least) * unit,
                 to = middle + static_cast<double>(mantissa - greatest) * unit;
    const double factor = static_cast<double>(mantissa) * unit;
    constexpr double room = 1.0 / (1 << 24);
    Real made;
    made.high = static_cast<float>(factor);
    made.low = static_cast<float>(factor - static_cast<double>(made.high));
    made.half = static_cast<float>((from + to) / 2);
    made.holds = from + room <= static_cast<double>(made.half) && static_cast<double>(made.half) <= to - room;
    return made;
}

}  // namespace

ByteScales::ByteScales(const Graph& graph, const Operator& operation, const Kernels& kernels, PlaceOf place) {
    const Tensor& tensor = graph.tensor(operation.weight);
    const auto numbers = tensor.copied<std::int8_t>();
    const auto biases = graph.tensor(operation.bias).copied<std::int32_t>();
    const auto& scales = graph.weight_quantization.at(operation.weight).scales;
    const Value& read = graph.input(operation);
    const Value& made = graph.output(operation);
    const auto outputs = biases.size(), inner = numbers.size() / outputs;
    const auto padded = (outputs + most_padding - 1) / most_padding * most_padding;
    for (Buffer* integers : {&bias, &mantissas, &lefts, &rights, &halves}) *integers = buffer_of<std::int32_t>(padded);
    for (Buffer* reals : {&highs, &lows, &half}) *reals = buffer_of<float>(padded);
    reals_hold = buffer_of<bool>(padded / panel);
    std::fill_n(reals_hold.as<bool>(), padded / panel, true);
    const ByteBounds bounds = byte_bounds(operation.curve, made.quantization);
    const int zero_point = made.zero_point();
    const bool is_signed = bounds.low != zero_point;
    const int most = is_signed ? std::max(highest - zero_point, zero_point - lowest) : highest - zero_point;
    bool any_left = false, all_shrink = true;
    for (std::size_t o = 0; o < outputs; ++o) {
        std::int64_t sum = 0, reach = 0;
        for (std::size_t k = 0; k < inner; ++k) {
            sum += numbers[o * inner + k];
            reach += std::abs(numbers[o * inner + k]);
        }
        if (std::abs(std::int64_t{biases[o]}) + 255 * reach > INT32_MAX)
            throw GraphError("'" + operation.name + "' has sums that do not fit into 32 bits");
        const double real = static_cast<double>(read.scale()) * static_cast<double>(scales[scales.size() == 1 ? 0 : o]) /
                            static_cast<double>(made.scale());
        const Factor by = factor(real);
        const auto at = static_cast<std::size_t>(place(static_cast<int>(o), static_cast<int>(outputs), kernels));
        bias.as<std::int32_t>()[at] = static_cast<std::int32_t>(biases[o] - (read.zero_point() + kernels.offset) * sum);
        mantissas.as<std::int32_t>()[at] = by.mantissa;
        lefts.as<std::int32_t>()[at] = std::clamp(by.shift, 0, 31);
        rights.as<std::int32_t>()[at] = std::clamp(-by.shift, 0, 31);
        halves.as<std::int32_t>()[at] = by.shift < 0 ? 1 << (std::min(-by.shift, 31) - 1) : 0;
        any_left = any_left || by.shift > 0;
        all_shrink = all_shrink && by.shift < 0;
        if (!kernels.has_reals) continue;
        const Real in_floats = real_of(by, most, is_signed);
        highs.as<float>()[at] = in_floats.high, lows.as<float>()[at] = in_floats.low, half.as<float>()[at] = in_floats.half;
        reals_hold.as<bool>()[o / panel] = reals_hold.as<bool>()[o / panel] && in_floats.holds;
    }
    weights.outputs = static_cast<int>(outputs);
    weights.bias = bias.as<std::int32_t>();
    weights.mantissas = mantissas.as<std::int32_t>();
    weights.lefts = any_left ? lefts.as<std::int32_t>() : nullptr;
    weights.rights = rights.as<std::int32_t>();
    weights.halves = halves.as<std::int32_t>();
    weights.highs = highs.as<float>(), weights.lows = lows.as<float>(), weights.half = half.as<float>();
    weights.reals_hold = reals_hold.as<bool>();
    weights.rescale = kernels.has_reals ? (is_signed ? Rescale::signed_reals : Rescale::reals)
                      : all_shrink      ? Rescale::shrinking
                                        : Rescale::any;
    weights.zero_point = zero_point;
    weights.low = bounds.low;
    weights.high = bounds.high;
}

}  // namespace mobilenets
