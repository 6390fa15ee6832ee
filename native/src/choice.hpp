// Decides with a cost model which blocks run row by row, with how many rows at once, and which operator by operator.
#pragma once

#include "plan.hpp"
#include "schedule.hpp"

namespace mobilenets {

/// The fastest plan according to the model that takes no more memory than the plan in which every block runs row by row.
Plan fastest_plan(const Graph& graph, const Steps& steps, int threads);

/// The plan with these groups; a group whose ring buffers would lose rows that are still needed runs operator by operator.
Plan possible_plan(const Graph& graph, const Steps& steps, const std::vector<Group>& groups, int threads);

}  // namespace mobilenets
