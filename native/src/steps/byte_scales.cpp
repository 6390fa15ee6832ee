// Factors, bias and bounds of integer operators with weights.
#include <cmath>
#include <cstdlib>

#include "../errors.hpp"
#include "step.hpp"

namespace mobilenets {

/// The specification rounds twice: after the mantissa, and after a right shift if there is one. For a positive sum x, the
/// result is k or more from the least x with x * mantissa >= n(k), where n(k) = (2k - 1) * 2**(30 + right) - 2**30, or with no
/// right shift (2k - 1) * 2**30. A negative sum is rounded as a positive one, save that a sum which is just n(k) does not reach
/// k. So for each k, the product and `half` must reach k for that least x, and must not for x - 1. The processor rounds once,
/// in the direction in which the fraction is cut off: what is compared with k is exact. A factor of 24 bits is a little off,
/// and a few neighbors are tried; for each, all k together leave an interval for `half`, in the middle of which it is chosen.
Real real_of(Factor by, int zero_point, bool is_signed, std::int64_t largest) {
    constexpr int largest_left = 15, largest_right = 15;  // larger sums than floats represent give too large a result
    constexpr std::int64_t largest_exact = 1 << 24;
    constexpr double room = 1.0 / (1 << 23);
    const int left = std::max(by.shift, 0), right = std::max(-by.shift, 0);
    if (by.mantissa < 1 << 30 || left > largest_left || right > 31) return {};
    if (right > largest_right && largest > largest_exact) return {};
    const int most = std::max(highest - zero_point, is_signed ? zero_point - lowest : 0);
    const std::int64_t whole = std::int64_t{1} << (31 + right), mantissa = std::int64_t{by.mantissa} << left;
    const std::int64_t step = whole / mantissa, rest = whole % mantissa;
    const std::int64_t first = whole / 2 - (right > 0 ? std::int64_t{1} << 30 : 0);  // n(1)
    const auto nearest = static_cast<float>(std::ldexp(static_cast<double>(mantissa), -31 - right));
    for (const float factor : {nearest, std::nextafter(nearest, 0.0F), std::nextafter(nearest, 2 * nearest)}) {
        const auto exact = static_cast<double>(factor), reached = static_cast<double>(largest) + 1;
        double from = -1, to = 2, x = static_cast<double>((first + mantissa - 1) / mantissa);
        std::int64_t gap = (mantissa - first % mantissa) % mantissa;  // x * mantissa - n(k)
        bool has_tie = false;
        for (int k = 1; k <= most && x <= reached; ++k) {
            has_tie = has_tie || gap == 0;
            from = std::max(from, k - x * exact);
            to = std::min(to, k - (x - 1) * exact);
            gap -= rest, x += static_cast<double>(step);
            if (gap < 0) gap += mantissa, x += 1;
        }
        if (to - from < room || (is_signed && has_tie)) continue;
        const auto more = is_signed ? 0 : std::llround(zero_point / exact);
        if (more < INT32_MIN / 2 || more > INT32_MAX / 2) continue;
        const double moved = is_signed ? 0 : zero_point - static_cast<double>(more) * exact;
        return {factor, static_cast<float>((from + to) / 2 + moved), static_cast<std::int32_t>(more), true};
    }
    return {};
}

ByteScales::ByteScales(const Graph& graph, const Operator& operation, const Kernels& kernels, PlaceOf place) {
    const Tensor& tensor = graph.tensor(operation.weight);
    const auto numbers = tensor.copied<std::int8_t>();
    const auto biases = graph.tensor(operation.bias).copied<std::int32_t>();
    const auto& scales = graph.weight_quantization.at(operation.weight).scales;
    const Value& read = graph.input(operation);
    const Value& made = graph.output(operation);
    const auto outputs = biases.size(), inner = numbers.size() / outputs;
    const auto padded = (outputs + most_padding - 1) / most_padding * most_padding;
    for (Buffer* integers : {&bias, &mantissas, &lefts, &rights, &halves, &back}) *integers = buffer_of<std::int32_t>(padded);
    for (Buffer* reals : {&factors, &half}) *reals = buffer_of<float>(padded);
    reals_hold = buffer_of<bool>(padded / panel);
    std::fill_n(reals_hold.as<bool>(), padded / panel, true);
    const ByteBounds bounds = byte_bounds(operation.curve, made.quantization);
    const int zero_point = made.zero_point();
    const bool is_signed = bounds.low != zero_point;
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
        const Real in_floats = real_of(by, zero_point, is_signed, std::abs(std::int64_t{biases[o]}) + 255 * reach);
        factors.as<float>()[at] = in_floats.factor, half.as<float>()[at] = in_floats.half;
        const std::int64_t most = std::abs(std::int64_t{biases[o]}) + 255 * reach + std::abs(in_floats.more);
        if (in_floats.holds && most <= INT32_MAX) {
            bias.as<std::int32_t>()[at] += in_floats.more;
            back.as<std::int32_t>()[at] = -in_floats.more;
            continue;
        }
        reals_hold.as<bool>()[o / panel] = false;
    }
    weights.outputs = static_cast<int>(outputs);
    weights.bias = bias.as<std::int32_t>();
    weights.mantissas = mantissas.as<std::int32_t>();
    weights.lefts = any_left ? lefts.as<std::int32_t>() : nullptr;
    weights.rights = rights.as<std::int32_t>();
    weights.halves = halves.as<std::int32_t>();
    weights.factors = factors.as<float>(), weights.half = half.as<float>();
    weights.back = back.as<std::int32_t>();
    weights.reals_hold = reals_hold.as<bool>();
    weights.rescale = kernels.has_reals ? (is_signed ? Rescale::signed_reals : Rescale::reals)
                      : all_shrink      ? Rescale::shrinking
                                        : Rescale::any;
    weights.zero_point = zero_point;
    weights.low = bounds.low;
    weights.high = bounds.high;
}

}  // namespace mobilenets
