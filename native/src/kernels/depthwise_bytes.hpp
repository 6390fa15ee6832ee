// Selects how an instruction set computes int8 depthwise convolutions.
#pragma once

#include "depthwise_columns.hpp"
#include "depthwise_pairs.hpp"

namespace mobilenets {

template <class V>
struct DepthwiseBy {
    using Way = ByPairs<V>;
};
template <class V>
    requires requires { typename V::template Block<16>; }
struct DepthwiseBy<V> {
    using Way = ByColumns<V>;
};
template <class V>
using DepthwiseBytes = typename DepthwiseBy<V>::Way;

}  // namespace mobilenets
