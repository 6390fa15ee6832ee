#include "schedule.hpp"

#include <map>
#include <optional>

namespace mobilenets {
namespace {

constexpr std::int64_t least_work = 30'000;  // multiply-adds or numbers; dividing less work costs more than it saves
constexpr int most_rows = 1 << 16;           // of a map that is computed band by band

/// The calls that compute a range of rows of one value, including the rows of the ring buffers that it is computed from.
class Chain {
public:
    Chain(const Graph& graph, const Plan& plan, const Steps& steps, const Group& group)
        : graph_(graph), plan_(plan), steps_(steps) {
        for (int i = group.operators.from; i < group.operators.to; ++i) makers_[graph.operators[index(i)].outputs[0]] = i;
    }

    /// The calls; none if a ring buffer has lost a row that is needed.
    std::optional<std::vector<Call>> calls(int operation, Span rows) {
        const int band = plan_.places[index(graph_.operators[index(operation)].outputs[0])].at_once;
        const bool has_rings = reads_ring(operation);
        find_starts(operation, {rows.from, std::min(rows.from + band, rows.to)});
        for (int y = rows.from; y < rows.to; y += has_rings ? band : rows.size()) {
            if (!compute(operation, {y, has_rings ? std::min(y + band, rows.to) : rows.to})) return std::nullopt;
        }
        return std::move(calls_);
    }

private:
    bool reads_ring(int operation) const {
        for (int value : graph_.operators[index(operation)].inputs) {
            if (plan_.places[index(value)].is_ring) return true;
        }
        return false;
    }

    /// Every ring buffer starts with the first row that any of its readers needs.
    void find_starts(int operation, Span rows) {
        const std::vector<int>& inputs = graph_.operators[index(operation)].inputs;
        for (std::size_t i = 0; i < inputs.size(); ++i) {
            if (!plan_.places[index(inputs[i])].is_ring) continue;
            const Span needed = steps_[index(operation)]->needed(i, rows);
            auto [ring, is_new] = rings_.try_emplace(inputs[i], Span{needed.from, needed.from});
            if (needed.from < ring->second.from) ring->second = {needed.from, needed.from};
            find_starts(makers_.at(inputs[i]), needed);
        }
    }

    bool compute(int operation, Span rows) {
        const std::vector<int>& inputs = graph_.operators[index(operation)].inputs;
        for (std::size_t i = 0; i < inputs.size(); ++i) {
            if (plan_.places[index(inputs[i])].is_ring && !fill(inputs[i], steps_[index(operation)]->needed(i, rows)))
                return false;
        }
        for (std::size_t i = 0; i < inputs.size(); ++i) {  // filling one ring may have overwritten rows of another
            const Place& place = plan_.places[index(inputs[i])];
            if (place.is_ring && steps_[index(operation)]->needed(i, rows).from < rings_.at(inputs[i]).to - place.held)
                return false;
        }
        calls_.push_back({operation, rows, {0, steps_[index(operation)]->panels()}});
        return true;
    }

    bool fill(int value, Span needed) {
        const Place& place = plan_.places[index(value)];
        Span& ring = rings_.at(value);
        if (needed.size() > place.held || needed.from < ring.from || needed.from < ring.to - place.held) return false;
        while (ring.to < needed.to) {
            const Span next{ring.to, std::min(ring.to + place.at_once, needed.to)};
            ring.to = next.to;
            if (!compute(makers_.at(value), next)) return false;
        }
        return true;
    }

    const Graph& graph_;
    const Plan& plan_;
    const Steps& steps_;
    std::map<int, int> makers_;  // operators by the value they make
    std::map<int, Span> rings_;  // the rows computed so far, by value
    std::vector<Call> calls_;
};

/// Part `i` of a range that is divided as evenly as possible.
Span share(int length, int i, int parts) {
    return {static_cast<int>(std::int64_t{length} * i / parts), static_cast<int>(std::int64_t{length} * (i + 1) / parts)};
}

std::int64_t work(const Graph& graph, const Operator& operation) {
    const std::int64_t made = count(graph.output(operation).shape);
    if (!operation.weight.empty())
        return made * (count(graph.tensor(operation.weight).shape) / graph.tensor(operation.weight).shape[0]);
    return std::max(made, count(graph.input(operation).shape));
}

class Scheduler {
public:
    Scheduler(const Graph& graph, const Plan& plan, const Steps& steps, int threads)
        : graph_(graph), plan_(plan), steps_(steps), threads_(threads) {}

    std::vector<Stage> stages() {
        for (const Group& group : plan_.groups) {
            for (int i = group.operators.from; i < group.operators.to; ++i) {
                const Operator& operation = graph_.operators[index(i)];
                if (!plan_.places[index(operation.outputs[0])].is_ring && !renames(operation.kind)) add_stage(group, i);
            }
        }
        return std::move(stages_);
    }

private:
    void add_stage(const Group& group, int operation) {
        const int rows = graph_.output(graph_.operators[index(operation)]).height();
        const int panels = steps_[index(operation)]->panels();
        const bool is_alone = group.operators.size() == 1;
        if (threads_ == 1 || graph_.operators[index(operation)].kind == Kind::nms ||
            (is_alone && work(graph_, graph_.operators[index(operation)]) < least_work)) {
            add_to_first(Chain(graph_, plan_, steps_, group).calls(operation, {0, rows}).value());
            return;
        }
        Stage stage{std::vector<std::vector<Call>>(index(threads_))};
        for (int t = 0; t < threads_; ++t) {
            if (is_alone && is_divided_by_panels(rows, panels)) {
                stage.parts[index(t)] = {{operation, {0, rows}, share(panels, t, threads_)}};
            } else {
                stage.parts[index(t)] = Chain(graph_, plan_, steps_, group).calls(operation, share(rows, t, threads_)).value();
            }
        }
        stages_.push_back(std::move(stage));
        is_open_ = false;
    }

    bool is_divided_by_panels(int rows, int panels) const {
        const auto largest = [this](int length) { return static_cast<double>((length + threads_ - 1) / threads_) / length; };
        return largest(panels) < largest(rows) - 0.01;
    }

    /// Adds calls for a single thread, to the previous stage if that is of the same kind.
    void add_to_first(const std::vector<Call>& calls) {
        if (!is_open_) stages_.push_back({std::vector<std::vector<Call>>(index(threads_))});
        is_open_ = true;
        auto& first = stages_.back().parts[0];
        first.insert(first.end(), calls.begin(), calls.end());
    }

    const Graph& graph_;
    const Plan& plan_;
    const Steps& steps_;
    int threads_;
    std::vector<Stage> stages_;
    bool is_open_ = false;  // whether the last stage has calls for a single thread
};

}  // namespace

bool can_run(const Graph& graph, const Plan& plan, const Steps& steps, const Group& group, int threads) {
    for (int i = group.operators.from; i < group.operators.to; ++i) {
        const Operator& operation = graph.operators[index(i)];
        if (plan.places[index(operation.outputs[0])].is_ring) continue;
        const int rows = graph.output(operation).height();
        if (group.operators.size() > 1 && rows > most_rows) return false;
        for (int t = 0; t < threads; ++t) {
            if (!Chain(graph, plan, steps, group).calls(i, share(rows, t, threads))) return false;
        }
    }
    return true;
}

std::vector<Stage> scheduled(const Graph& graph, const Plan& plan, const Steps& steps, int threads) {
    return Scheduler(graph, plan, steps, threads).stages();
}

}  // namespace mobilenets
