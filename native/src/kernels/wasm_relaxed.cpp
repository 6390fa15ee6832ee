#include "../simd/wasm_relaxed.hpp"

#include "table.hpp"

namespace mobilenets {

const Kernels& wasm_relaxed_kernels() {
    static const Kernels kernels = table<simd::WasmRelaxed>();
    return kernels;
}

}  // namespace mobilenets
