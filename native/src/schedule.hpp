// The order in which rows are computed, determined once: successive stages, each with one list of calls per thread.
#pragma once

#include <memory>
#include <vector>

#include "plan.hpp"
#include "steps/step.hpp"

namespace mobilenets {

/// A call of one operator for some output rows and some panels of their channels.
struct Call {
    int operation = 0;
    Span rows, panels;
};

struct Stage {
    std::vector<std::vector<Call>> parts;  // computed concurrently by different threads
};

using Steps = std::vector<std::unique_ptr<Step>>;

/// Whether the ring buffers of a group keep every row as long as any reader needs it. All blocks of the papers satisfy this.
bool can_run(const Graph& graph, const Plan& plan, const Steps& steps, const Group& group, int threads);

/// The stages of a plan whose groups can all run.
std::vector<Stage> scheduled(const Graph& graph, const Plan& plan, const Steps& steps, int threads);

}  // namespace mobilenets
