// The instruction set that this code is compiled for, among those with weights in groups of four bytes, as in exported C++.
#pragma once

#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
#include "neon.hpp"
#elif defined(__arm__) && defined(__ARM_FEATURE_DSP)
#include "dsp.hpp"
#else
#include "compact.hpp"
#endif

namespace mobilenets::simd {

#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
using Compiled = Neon;
#elif defined(__arm__) && defined(__ARM_FEATURE_DSP)
using Compiled = Dsp;
#else
using Compiled = Compact;
#endif

}  // namespace mobilenets::simd
