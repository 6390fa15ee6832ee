#include "../simd/vnni.hpp"

#include "table.hpp"

namespace mobilenets {

const Kernels& emulated_vnni_kernels() {
    static const Kernels kernels = table<simd::EmulatedVnni>();
    return kernels;
}

}  // namespace mobilenets
