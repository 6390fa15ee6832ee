#include "../simd/vnni.hpp"

#include "table.hpp"

namespace mobilenets {

const Kernels& avx_vnni_kernels() {
    static const Kernels kernels = table<simd::AvxVnni>();
    return kernels;
}

}  // namespace mobilenets
