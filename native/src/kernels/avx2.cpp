#include "../simd/avx2.hpp"

#include "table.hpp"

namespace mobilenets {

const Kernels& avx2_kernels() {
    static const Kernels kernels = table<simd::Avx2>();
    return kernels;
}

}  // namespace mobilenets
