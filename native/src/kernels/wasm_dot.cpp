#include "../simd/wasm_relaxed.hpp"

#include "table.hpp"

namespace mobilenets {

bool has_wasm_dot() { return simd::WasmDot::runs_here(); }

const Kernels& wasm_dot_kernels() {
    static const Kernels kernels = table<simd::WasmDot>();
    return kernels;
}

}  // namespace mobilenets
