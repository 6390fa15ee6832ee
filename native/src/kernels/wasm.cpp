#include "../simd/wasm.hpp"

#include "table.hpp"

namespace mobilenets {

const Kernels& wasm_kernels() {
    static const Kernels kernels = table<simd::Wasm>();
    return kernels;
}

}  // namespace mobilenets
