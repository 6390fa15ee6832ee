#include "choice.hpp"

#include <algorithm>
#include <array>

namespace mobilenets {
namespace {

// The cost model, in cycles of a processor with AVX2. Only differences between plans matter; costs common to all are left out.
constexpr double float_rate = 16, byte_rate = 28;  // multiply-adds per cycle
constexpr double near_rate = 32, far_rate = 8;     // bytes per cycle from the L2 and the L3 cache
constexpr double near_bytes = 256 * 1024;          // that stay in the L2 cache between two operators
constexpr double call_cycles = 150;
constexpr int tile = 6, least_tile = 4;  // pixels of a tile; in a smaller one, the sums wait for each other
constexpr std::array bands{1, 2, 4, 8};  // candidates for the number of rows at once

/// The cost of pixels in tiles, in units of a pixel in a full tile.
double tiled(int pixels) {
    const int last = pixels < tile ? pixels : tile + pixels % tile;
    const auto cost = [](int count) { return static_cast<double>(count == 0 ? 0 : std::max(count, least_tile)); };
    if (pixels % tile == 0) return pixels;
    return pixels < tile ? cost(pixels) : (pixels - last) + cost((last + 1) / 2) + cost(last / 2);
}

/// The cost of an operator that computes this many rows of its output at once.
double cost_of(const Graph& graph, const Operator& operation, int rows) {
    const Value& made = graph.output(operation);
    const double calls = (made.height() + rows - 1) / rows;
    if (operation.kind != Kind::conv) return calls * call_cycles;
    const Tensor& weights = graph.tensor(operation.weight);
    const auto numbers = static_cast<double>(count(weights.shape));
    const double rate = weights.number == Number::float32 ? float_rate : byte_rate;
    const double cell_bytes = weights.number == Number::float32 ? 4 : 2;
    return calls * (call_cycles + tiled(rows * made.width()) * numbers / rate + numbers * cell_bytes / near_rate);
}

/// The cost of a group in a plan: its operators, and moving its inner feature maps through the caches.
double cost_of(const Graph& graph, const Plan& plan, Span operators) {
    double cycles = 0, ring_bytes = 0;
    for (int i = operators.from; i < operators.to; ++i) {
        const Operator& operation = graph.operators[index(i)];
        const int value = operation.outputs[0];
        const Place& place = plan.places[index(value)];
        const Value& made = graph.values[index(value)];
        const bool is_banded = place.is_ring || std::any_of(operation.inputs.begin(), operation.inputs.end(),
                                                            [&](int input) { return plan.places[index(input)].is_ring; });
        cycles += cost_of(graph, operation, is_banded ? std::min(place.at_once, made.height()) : made.height());
        if (place.is_ring)
            ring_bytes += static_cast<double>(made.row_bytes()) * place.held;
        else if (static_cast<double>(made.bytes()) > near_bytes)
            cycles += 2 * static_cast<double>(made.bytes()) / far_rate;
    }
    return cycles + (ring_bytes > near_bytes ? 2 * ring_bytes / near_rate : 0);
}

std::vector<Group> with_band(std::vector<Group> groups, int band) {
    for (Group& group : groups) {
        if (group.operators.size() > 1) group.band = band;
    }
    return groups;
}

/// One way to run a block: fused, with this many rows at once, or, with 0, operator by operator.
struct Option {
    int band = 1;
    double cycles = 0;
};

std::vector<Group> assembled(const std::vector<Group>& blocks, const std::vector<int>& chosen) {
    std::vector<Group> groups;
    for (std::size_t b = 0; b < blocks.size(); ++b) {
        const Span operators = blocks[b].operators;
        if (chosen[b] > 0)
            groups.push_back({operators, chosen[b]});
        else
            for (int i = operators.from; i < operators.to; ++i) groups.push_back({{i, i + 1}});
    }
    return groups;
}

}  // namespace

Plan possible_plan(const Graph& graph, const Steps& steps, const std::vector<Group>& groups, int threads) {
    Plan plan = planned(graph, groups, threads);
    std::vector<Group> possible;
    for (const Group& group : plan.groups) {
        if (group.operators.size() == 1 || can_run(graph, plan, steps, group, threads)) {
            possible.push_back(group);
        } else {
            for (int i = group.operators.from; i < group.operators.to; ++i) possible.push_back({{i, i + 1}});
        }
    }
    return possible.size() == groups.size() ? plan : planned(graph, possible, threads);
}

Plan fastest_plan(const Graph& graph, const Steps& steps, int threads) {
    Plan best = possible_plan(graph, steps, block_by_block(graph), threads);
    const std::size_t most = std::max(best.bytes, planned(graph, block_by_block(graph), threads).bytes);
    const std::vector<Group> blocks = best.groups;
    std::vector<std::vector<Option>> options(blocks.size());
    for (int band : bands) {
        const Plan plan = planned(graph, with_band(blocks, band), threads);
        for (std::size_t b = 0; b < blocks.size(); ++b) {
            if (blocks[b].operators.size() > 1 && (band == 1 || can_run(graph, plan, steps, plan.groups[b], threads))) {
                options[b].push_back({band, cost_of(graph, plan, blocks[b].operators)});
            }
        }
    }
    const Plan layers = planned(graph, layer_by_layer(graph), threads);
    std::vector<int> chosen(blocks.size(), 1);
    for (std::size_t b = 0; b < blocks.size(); ++b) {
        if (blocks[b].operators.size() == 1) continue;
        options[b].push_back({0, cost_of(graph, layers, blocks[b].operators)});
        std::stable_sort(options[b].begin(), options[b].end(),
                         [](const Option& a, const Option& c) { return a.cycles < c.cycles; });
        for (const Option& option : options[b]) {
            chosen[b] = option.band;
            Plan plan = planned(graph, assembled(blocks, chosen), threads);
            if (plan.bytes > most && option.band != 1) continue;
            best = std::move(plan);
            break;
        }
    }
    return best;
}

}  // namespace mobilenets
