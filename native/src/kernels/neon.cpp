#include "../simd/neon.hpp"

#include "table.hpp"

namespace mobilenets {

const Kernels& neon_kernels() {
    static const Kernels kernels = table<simd::Neon>();
    return kernels;
}

}  // namespace mobilenets
