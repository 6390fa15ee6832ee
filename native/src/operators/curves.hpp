// Elementwise activations.
#pragma once

#include "../kernels/records.hpp"

namespace mobilenets {

/// The elementwise activations.
enum class Curve { linear, relu, relu6, hard_swish, hard_sigmoid, sigmoid, gelu };

/// An activation of one number, as `mobilenets.deploy.curves` computes it.
inline float curve_of(Curve curve, float x) {
    const auto relu6 = [](float y) { return smaller(larger(y, 0.0F), 6.0F); };
    constexpr float sixth = 1.0F / 6;
    switch (curve) {
        case Curve::linear: return x;
        case Curve::relu: return larger(x, 0.0F);
        case Curve::relu6: return relu6(x);
        case Curve::hard_swish: return x * relu6(x + 3) * sixth;
        case Curve::hard_sigmoid: return relu6(x + 3) * sixth;
        case Curve::sigmoid: {
            const float small = __builtin_expf(-__builtin_fabsf(x));  // never overflows
            return x >= 0 ? 1 / (1 + small) : small / (1 + small);
        }
        case Curve::gelu: {
            constexpr double root_of_2 = 1.41421356237309504880;
            return static_cast<float>(static_cast<double>(x * 0.5F) * (1 + __builtin_erf(static_cast<double>(x) / root_of_2)));
        }
    }
    return x;
}

constexpr bool is_applied_by_kernels(Curve curve) { return curve != Curve::sigmoid && curve != Curve::gelu; }

/// The activation that a kernel can fuse; Clip::none for those that are applied afterwards with `curve_of`.
constexpr Clip clip_of(Curve curve) {
    switch (curve) {
        case Curve::relu: return Clip::relu;
        case Curve::relu6: return Clip::relu6;
        case Curve::hard_swish: return Clip::hard_swish;
        case Curve::hard_sigmoid: return Clip::hard_sigmoid;
        default: return Clip::none;
    }
}

}  // namespace mobilenets
