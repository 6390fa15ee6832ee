// Selects the instruction set for this processor.
#include <array>
#include <string_view>

#include "../errors.hpp"
#include "kernels.hpp"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif
#ifdef MOBILENETS_AVX_VNNI
#include <cpuid.h>
#endif

namespace mobilenets {
namespace {

struct Set {
    std::string_view name;
    const Kernels& (*kernels)();
    bool (*runs_here)();
    bool takes_least = true;  // whether it is exact for a weight of -128
};

#ifdef MOBILENETS_AVX512
bool has_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
}
#endif
#ifdef MOBILENETS_AVX2
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#endif
#ifdef MOBILENETS_AVX_VNNI
/// Checked by CPUID, because not every compiler knows the feature by name.
bool has_avx_vnni() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) != 0;
}
#endif

// The fastest first. CMake compiles the sets for the target architecture; `scripts/wasm.py` compiles those for WebAssembly.
constexpr std::array sets{
#ifdef MOBILENETS_EMULATED_VNNI
    Set{"emulated_vnni", emulated_vnni_kernels, [] { return true; }},
#endif
#ifdef MOBILENETS_AVX512
    Set{"avx512_bf16", avx512_bf16_kernels, [] { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }},
    Set{"avx512", avx512_kernels, has_avx512},
    Set{"avx512_vnni", avx512_vnni_kernels,
        [] { return has_avx2() && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni"); }},
#endif
#ifdef MOBILENETS_AVX_VNNI
    Set{"avx_vnni", avx_vnni_kernels, [] { return has_avx2() && has_avx_vnni(); }},
#endif
#ifdef MOBILENETS_AVX2
    Set{"avx2", avx2_kernels, has_avx2},
#endif
#ifdef MOBILENETS_NEON
    Set{"neon", neon_kernels,
        [] {
#if defined(__linux__)
            constexpr unsigned long dot_product = 1UL << 20;  // HWCAP_ASIMDDP
            return (getauxval(AT_HWCAP) & dot_product) != 0;
#else
            return true;  // every Apple processor of this architecture has it
#endif
        }},
#endif
#ifdef MOBILENETS_WASM_RELAXED
    Set{"wasm_dot", wasm_dot_kernels, has_wasm_dot, false},
    Set{"wasm_relaxed", wasm_relaxed_kernels, [] { return true; }},
#endif
#ifdef MOBILENETS_WASM
    Set{"wasm", wasm_kernels, [] { return true; }},
#else
    Set{"plain", plain_kernels, [] { return true; }},
#endif
};

}  // namespace

const Kernels& kernels_for(const char* name, bool has_least) {
    const std::string_view wanted(name);
    for (const Set& set : sets) {
        const bool fits = !has_least || set.takes_least;
        if ((wanted.empty() || wanted == set.name) && fits && set.runs_here()) return set.kernels();
    }
    throw GraphError("this processor, or this build, does not have the instruction set '" + std::string(wanted) + "'");
}

std::vector<const char*> kernels_here() {
    std::vector<const char*> names;
    for (const Set& set : sets) {
        if (set.runs_here()) names.push_back(set.name.data());
    }
    return names;
}

}  // namespace mobilenets
