// The order in which rows are computed, worked out once: stages one after the other, and in each stage a list of calls for
// every part, as many as there are threads.
#pragma once

#include <memory>
#include <vector>

#include "plan.hpp"
#include "steps/step.hpp"

namespace mobilenets {

/// One operator computes some rows of what it makes, and of those some panels of channels.
struct Call {
    int operation = 0;
    Span rows, panels;
};

struct Stage {
    std::vector<std::vector<Call>> parts;  // that different threads may compute at the same time
};

using Steps = std::vector<std::unique_ptr<Step>>;

/// Whether the rings of a group hold every row for as long as some reader needs it. It is so for all blocks of the papers.
bool can_run(const Graph& graph, const Plan& plan, const Steps& steps, const Group& group, int threads);

/// The stages of a plan whose groups can all run.
std::vector<Stage> scheduled(const Graph& graph, const Plan& plan, const Steps& steps, int threads);

}  // namespace mobilenets
