#include "../simd/plain.hpp"

#include "table.hpp"

namespace mobilenets {

const Kernels& plain_kernels() {
    static const Kernels kernels = table<simd::Plain>();
    return kernels;
}

}  // namespace mobilenets
