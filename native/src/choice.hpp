// Which blocks run row by row, with how many rows at once, and which operator by operator: by a model of what each costs.
#pragma once

#include "plan.hpp"
#include "schedule.hpp"

namespace mobilenets {

/// The plan that the model finds the fastest among those that take no more memory than when every block runs row by row.
Plan fastest_plan(const Graph& graph, const Steps& steps, int threads);

/// The plan in these groups; one whose rings cannot hold what is read later runs operator by operator.
Plan possible_plan(const Graph& graph, const Steps& steps, const std::vector<Group>& groups, int threads);

}  // namespace mobilenets
