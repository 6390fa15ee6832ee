#include "../simd/avx512_bf16.hpp"

#include "halves.hpp"

namespace mobilenets {

const Kernels& avx512_bf16_kernels() {
    static const HalfKernels halves = half_table<simd::Avx512Bf16>();
    static const Kernels kernels = [] {
        Kernels made = avx512_kernels();
        made.name = simd::Avx512Bf16::name;
        made.halves = &halves;
        return made;
    }();
    return kernels;
}

}  // namespace mobilenets
