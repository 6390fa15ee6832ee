#include "../simd/avx512.hpp"

#include "table.hpp"

namespace mobilenets {

const Kernels& avx512_kernels() {
    static const Kernels kernels = table<simd::Avx512>();
    return kernels;
}

}  // namespace mobilenets
