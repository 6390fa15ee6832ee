// Decides which values of a network are stored in 16 bits, if it computes in bfloat16.
#pragma once

#include "graph.hpp"

namespace mobilenets {

/// Makes convolutions multiply 16-bit numbers, and stores values in 16 bits if all their readers have kernels for that.
void compute_in_halves(Graph& graph);

}  // namespace mobilenets
