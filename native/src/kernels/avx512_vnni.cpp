#include "../simd/vnni.hpp"

#include "table.hpp"

namespace mobilenets {

const Kernels& avx512_vnni_kernels() {
    static const Kernels kernels = table<simd::Avx512Vnni>();
    return kernels;
}

}  // namespace mobilenets
