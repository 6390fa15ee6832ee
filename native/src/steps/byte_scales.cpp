// Factors, bias and bounds of integer operators with weights.
#include <cmath>
#include <cstdlib>

#include "../errors.hpp"
#include "step.hpp"

namespace mobilenets {

/// The specification rounds twice: after the multiplication by the mantissa, and after the right shift, if any. For a positive
/// sum x, the result is at least k if x * mantissa >= n(k), where n(k) = (2k - 1) * 2**(30 + right) - 2**30, or (2k - 1) *
/// 2**30 without a right shift. A negative sum is rounded like a positive one, except that a product of exactly n(k) does not
/// reach k.
LeastSums::LeastSums(Factor by) {
    const int left = std::max(by.shift, 0), right = std::max(-by.shift, 0);
    const std::int64_t whole = std::int64_t{1} << (31 + right);
    const std::int64_t first = whole / 2 - (right > 0 ? std::int64_t{1} << 30 : 0);  // n(1)
    mantissa_ = std::int64_t{by.mantissa} << left;
    step_ = whole / mantissa_, rest_ = whole % mantissa_;
    sum_ = (first + mantissa_ - 1) / mantissa_, gap_ = (mantissa_ - first % mantissa_) % mantissa_;
}

/// For each k, the product plus `half` must reach k for the smallest sum whose result is k, and must not for the sum before it.
/// The processor rounds once, in the direction of the truncation, so the comparison with k is exact. A factor with 24 bits is
/// slightly inexact, so a few neighbors are tried. For each, all k together leave an interval for `half`; its middle is used.
Real real_of(Factor by, int zero_point, bool is_signed, std::int64_t least, std::int64_t greatest) {
    constexpr int largest_left = 15, largest_right = 15;  // then sums too large for exact floats give results beyond 8 bits
    constexpr std::int64_t largest_exact = 1 << 24;
    constexpr double room = 1.0 / (1 << 23);
    const std::int64_t largest = std::max(-least, greatest);
    const int left = std::max(by.shift, 0), right = std::max(-by.shift, 0);
    if (by.mantissa < 1 << 30 || left > largest_left || right > 31) return {};
    if (right > largest_right && largest > largest_exact) return {};
    const int most = std::max(highest - zero_point, is_signed ? zero_point - lowest : 0);
    const auto nearest = static_cast<float>(std::ldexp(static_cast<double>(by.mantissa), by.shift - 31));
    for (const float factor : {nearest, std::nextafter(nearest, 0.0F), std::nextafter(nearest, 2 * nearest)}) {
        const auto exact = static_cast<double>(factor);
        double from = -1, to = 2;
        bool has_tie = false;
        LeastSums sums(by);
        for (int k = 1; k <= most && sums.sum() <= largest + 1; ++k, sums.next()) {
            has_tie = has_tie || sums.is_tie();
            from = std::max(from, k - static_cast<double>(sums.sum()) * exact);
            to = std::min(to, k - static_cast<double>(sums.sum() - 1) * exact);
        }
        if (to - from < room || (is_signed && has_tie)) continue;
        const auto more = is_signed ? 0 : std::llround(zero_point / exact);
        if (std::abs(more) > INT32_MAX - largest) continue;
        const double moved = is_signed ? 0 : zero_point - static_cast<double>(more) * exact;
        return {factor, static_cast<float>((from + to) / 2 + moved), static_cast<std::int32_t>(more), true};
    }
    return {};
}

ByteScales::ByteScales(const Graph& graph, const Operator& operation, const Kernels& kernels, PlaceOf place,
                       int offset) {
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
    ways = buffer_of<Rescale>(padded / panel);
    const ByteBounds bounds = byte_bounds(operation.curve, made.quantization);
    const int zero_point = made.zero_point();
    const bool is_signed = bounds.low != zero_point;
    bool any_left = false, all_shrink = true;
    std::vector<Channel> channels(outputs);
    for (std::size_t o = 0; o < outputs; ++o) {
        std::int64_t positive = 0, negative = 0;
        for (std::size_t k = 0; k < inner; ++k) {
            const std::int64_t weight = numbers[o * inner + k];
            (weight > 0 ? positive : negative) += weight;
        }
        if (std::abs(std::int64_t{biases[o]}) + 255 * (positive - negative) > INT32_MAX)
            throw GraphError("'" + operation.name + "' has sums that do not fit into 32 bits");
        const double real = static_cast<double>(read.scale()) * static_cast<double>(scales[scales.size() == 1 ? 0 : o]) /
                            static_cast<double>(made.scale());
        const Factor by = factor(real);
        const int low = lowest - read.zero_point(), high = highest - read.zero_point();
        const auto at = static_cast<std::size_t>(place(static_cast<int>(o), static_cast<int>(outputs), kernels));
        channels[o] = {o, at, by, biases[o] + positive * low + negative * high, biases[o] + positive * high + negative * low};
        const std::int64_t moved = (read.zero_point() + offset) * (positive + negative);
        bias.as<std::int32_t>()[at] = static_cast<std::int32_t>(biases[o] - moved);
        mantissas.as<std::int32_t>()[at] = by.mantissa;
        lefts.as<std::int32_t>()[at] = std::clamp(by.shift, 0, 31);
        rights.as<std::int32_t>()[at] = std::clamp(-by.shift, 0, 31);
        halves.as<std::int32_t>()[at] = by.shift < 0 ? 1 << (std::min(-by.shift, 31) - 1) : 0;
        any_left = any_left || by.shift > 0;
        all_shrink = all_shrink && by.shift < 0;
    }
    const Rescale in_integers = all_shrink && kernels.has_shrink ? Rescale::shrinking : Rescale::any;
    std::fill_n(ways.as<Rescale>(), padded / panel, in_integers);
    std::vector<Way> here;
    if (kernels.has_float_sums) here.push_back({Rescale::float_sums, most_padding, float_sum_of});
    if (kernels.has_reals) here.push_back({is_signed ? Rescale::signed_reals : Rescale::reals, panel, real_of});
    find_reals(channels, here, zero_point, is_signed);
    weights.outputs = static_cast<int>(outputs);
    weights.bias = bias.as<std::int32_t>();
    weights.mantissas = mantissas.as<std::int32_t>();
    weights.lefts = any_left ? lefts.as<std::int32_t>() : nullptr;
    weights.rights = rights.as<std::int32_t>();
    weights.halves = halves.as<std::int32_t>();
    weights.factors = factors.as<float>(), weights.half = half.as<float>();
    weights.back = back.as<std::int32_t>();
    weights.ways = here.empty() ? nullptr : ways.as<Rescale>();
    weights.rescale = in_integers;
    weights.zero_point = zero_point;
    weights.low = bounds.low;
    weights.high = bounds.high;
}

void ByteScales::find_reals(std::span<const Channel> channels, std::span<const Way> left, int zero_point, bool is_signed) {
    if (left.empty()) return;
    const Way& way = left.front();
    for (std::size_t from = 0; from < channels.size(); from += way.neighbors) {
        const auto group = channels.subspan(from, std::min(way.neighbors, channels.size() - from));
        std::vector<Real> found;
        for (const Channel& of : group) found.push_back(way.find(of.by, zero_point, is_signed, of.least, of.greatest));
        if (!std::all_of(found.begin(), found.end(), [](const Real& real) { return real.holds; })) {
            find_reals(group, left.subspan(1), zero_point, is_signed);
            continue;
        }
        for (std::size_t i = 0; i < group.size(); ++i) {
            const std::size_t at = group[i].at;
            factors.as<float>()[at] = found[i].factor, half.as<float>()[at] = found[i].half;
            bias.as<std::int32_t>()[at] += found[i].more;
            back.as<std::int32_t>()[at] = -found[i].more;
            ways.as<Rescale>()[group[i].number / panel] = way.how;
        }
    }
}

}  // namespace mobilenets
