// Which values of a network are kept in 16 bits, if it computes in bfloat16.
#pragma once

#include "graph.hpp"

namespace mobilenets {

/// Lets convolutions multiply numbers of 16 bits, and keeps in 16 bits what is only read by operators that have kernels for
/// them.
void compute_in_halves(Graph& graph);

}  // namespace mobilenets
