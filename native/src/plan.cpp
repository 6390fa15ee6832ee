#include "plan.hpp"

#include <algorithm>
#include <cstdint>
#include <numeric>

namespace mobilenets {
namespace {

constexpr std::size_t alignment = 64;        // of every offset
constexpr std::int64_t most_rows = 1 << 28;  // upper limit for row counts; no map has as many

bool is_weighted(Kind kind) { return kind == Kind::conv || kind == Kind::depthwise || kind == Kind::dense; }

bool is_window(Kind kind) { return kind == Kind::conv || kind == Kind::depthwise; }

bool is_by_number(Kind kind) {
    return kind == Kind::add || kind == Kind::multiply || kind == Kind::activation || kind == Kind::quantize ||
           kind == Kind::dequantize || kind == Kind::argmax;
}

/// Whether an operator belongs to the same group as the previous one: in the same block, or an argmax of a resized map.
bool continues(const Operator& before, const Operator& operation) {
    return (operation.block >= 0 && operation.block == before.block) ||
           (before.kind == Kind::resize && operation.kind == Kind::argmax);
}

class Planner {
public:
    Planner(const Graph& graph, std::vector<Group> groups, int threads) : graph_(graph), threads_(threads) {
        plan_.groups = std::move(groups);
        plan_.places.resize(graph.values.size());
        const bool has_blocks = std::any_of(plan_.groups.begin(), plan_.groups.end(),
                                            [](const Group& group) { return group.operators.size() > 1; });
        plan_.image_stays = has_blocks && can_stay(graph);
        find_lives();
        find_rings();
        place_values();
        for (std::size_t i = 0; i < graph.values.size(); ++i)
            plan_.places[i].offset = plan_.places[index(graph.values[i].source)].offset;
    }

    Plan take() { return std::move(plan_); }

private:
    int source(int value) const { return graph_.values[index(value)].source; }
    bool stands_alone(std::size_t value) const { return graph_.values[value].source == static_cast<int>(value); }

    void find_lives() {
        lives_.assign(graph_.values.size(), {-1, -1});
        readers_.resize(graph_.values.size());
        is_output_.assign(graph_.values.size(), false);
        for (int step = 0; step < static_cast<int>(plan_.groups.size()); ++step) {
            const Span operators = plan_.groups[index(step)].operators;
            for (int i = operators.from; i < operators.to; ++i) {
                const Operator& operation = graph_.operators[index(i)];
                for (int value : operation.outputs) lives_[index(value)] = {step, step};
                for (int value : operation.outputs)
                    lives_[index(source(value))].last = std::max(lives_[index(source(value))].last, step);
                for (int value : operation.inputs) {
                    lives_[index(source(value))].last = std::max(lives_[index(source(value))].last, step);
                    readers_[index(source(value))].push_back(i);
                }
            }
        }
        for (const Output& output : graph_.outputs) {
            is_output_[index(source(output.value))] = true;
            lives_[index(source(output.value))].last = static_cast<int>(plan_.groups.size()) - 1;
        }
    }

    /// The progress of a value per band of its group: the newest row after the first band, and the rows gained per band.
    struct Pace {
        int newest = 0, gain = 1;
    };

    /// How an operator moves over the rows of its input: rows per output row, rows in a window, and the first row.
    struct Moves {
        int stride = 1, reach = 1, top = 0;
    };

    Moves moves(const Operator& reader) const {
        if (!is_window(reader.kind)) return {};
        const auto kernel = static_cast<int>(graph_.tensor(reader.weight).shape[2]);
        return {reader.stride[0], reader.dilation[0] * (kernel - 1) + 1, reader.padding[0]};
    }

    void find_rings() {
        std::vector<Pace> paces(graph_.values.size());
        for (int value = static_cast<int>(graph_.values.size()) - 1; value >= 0; --value) {
            const Value& facts = graph_.values[index(value)];
            Place& place = plan_.places[index(value)];
            place.held = facts.height();
            const Life life = lives_[index(value)];
            if (life.first < 0 || !stands_alone(index(value))) continue;
            const Group& group = plan_.groups[index(life.first)];
            paces[index(value)] = {group.band - 1, group.band};
            place.at_once = group.band;
            const bool is_inside =
                life.first == life.last && group.operators.size() > 1 && !is_output_[index(value)] && facts.is_map();
            if (is_inside && readers_[index(value)].empty()) place.copies = 0;  // it is never computed
            if (is_inside && place.copies > 0) find_ring(index(value), group.band, paces);
        }
    }

    /// Finds the rows to keep of a map inside a group. One reader needs its window; several readers may be at different rows.
    void find_ring(std::size_t value, int band, std::vector<Pace>& paces) {
        const int height = graph_.values[value].height();
        Place& place = plan_.places[value];
        std::int64_t newest = 0, oldest = height, gain = 1, rows = 1;
        for (int i : readers_[value]) {
            const Operator& reader = graph_.operators[index(i)];
            if (!is_window(reader.kind) && !is_by_number(reader.kind)) return;  // it needs the whole map
            const Moves by = moves(reader);
            const Pace pace = paces[index(reader.outputs[0])];
            const std::int64_t at_once = plan_.places[index(reader.outputs[0])].at_once;
            newest = std::max<std::int64_t>(newest, std::int64_t{pace.newest} * by.stride - by.top + by.reach - 1);
            oldest = std::min<std::int64_t>(oldest, std::int64_t{pace.newest - pace.gain + 1} * by.stride - by.top);
            gain = std::max(gain, std::int64_t{pace.gain} * by.stride);
            rows = std::max(rows, (at_once - 1) * by.stride + by.reach);
        }
        if (readers_[value].size() > 1) rows = std::max(rows, newest - oldest + 1);
        if (rows >= height) return;
        place.is_ring = true;
        place.held = static_cast<int>(rows);
        place.copies = threads_;
        place.at_once = band > 1 ? static_cast<int>(std::min<std::int64_t>(gain, height)) : 1;
        paces[value] = {static_cast<int>(std::clamp<std::int64_t>(newest, -most_rows, most_rows)),
                        static_cast<int>(std::min<std::int64_t>(gain, most_rows))};
    }

    /// The size of one copy, padded so that vectors reading past its end do not touch memory that another thread writes.
    std::size_t copy_bytes(std::size_t value) const {
        if (value == 0 && plan_.image_stays) return 0;
        const std::size_t rows = graph_.values[value].row_bytes() * index(plan_.places[value].held);
        return threads_ == 1 ? rows : (rows + guard + alignment - 1) / alignment * alignment;
    }

    std::size_t bytes(std::size_t value) const { return copy_bytes(value) * index(plan_.places[value].copies); }

    bool meet(std::size_t a, std::size_t b) const {
        return lives_[a].first <= lives_[b].last && lives_[b].first <= lives_[a].last;
    }

    /// Places the largest value first, each in the smallest gap that is free during its lifetime.
    void place_values() {
        std::vector<std::size_t> order;
        for (std::size_t value = 0; value < graph_.values.size(); ++value) {
            if (stands_alone(value)) order.push_back(value);
        }
        std::stable_sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
            return bytes(a) != bytes(b) ? bytes(a) > bytes(b) : lives_[a].first < lives_[b].first;
        });
        std::vector<std::size_t> placed;
        for (std::size_t value : order) {
            plan_.places[value].offset = free_offset(value, placed);
            plan_.places[value].copy_bytes = copy_bytes(value);
            plan_.bytes = std::max(plan_.bytes, plan_.places[value].offset + bytes(value));
            placed.push_back(value);
        }
    }

    std::size_t free_offset(std::size_t value, const std::vector<std::size_t>& placed) const {
        std::vector<std::pair<std::size_t, std::size_t>> taken;  // offset and size
        for (std::size_t other : placed) {
            if (meet(value, other)) taken.emplace_back(plan_.places[other].offset, bytes(other));
        }
        std::sort(taken.begin(), taken.end());
        std::size_t end = 0, smallest = SIZE_MAX, offset = 0;
        for (const auto& [begin, size] : taken) {
            if (begin >= end && begin - end >= bytes(value) && begin - end < smallest) smallest = begin - end, offset = end;
            end = std::max(end, (begin + size + alignment - 1) / alignment * alignment);
        }
        return smallest == SIZE_MAX ? end : offset;
    }

    const Graph& graph_;
    int threads_;
    Plan plan_;
    std::vector<Life> lives_;
    std::vector<std::vector<int>> readers_;  // operators that read each value or one of its aliases
    std::vector<bool> is_output_;
};

}  // namespace

bool can_stay(const Graph& graph) {
    for (const Operator& operation : graph.operators) {
        for (int value : operation.inputs) {
            if (graph.values[index(value)].source == 0 && (value != 0 || operation.kind != Kind::quantize)) return false;
        }
    }
    for (const Output& output : graph.outputs) {
        if (graph.values[index(output.value)].source == 0) return false;
    }
    return graph.values[0].number == Number::float32;
}

std::vector<Group> layer_by_layer(const Graph& graph) {
    std::vector<Group> groups;
    for (int i = 0; i < static_cast<int>(graph.operators.size()); ++i) groups.push_back({{i, i + 1}});
    return groups;
}

std::vector<Group> block_by_block(const Graph& graph) {
    std::vector<Group> groups;
    for (int i = 0; i < static_cast<int>(graph.operators.size()); ++i) {
        if (i > 0 && continues(graph.operators[index(i - 1)], graph.operators[index(i)]))
            groups.back().operators.to = i + 1;
        else
            groups.push_back({{i, i + 1}});
    }
    int weighted = 0, stem = 0;  // the stem: the operators before the second one with weights
    for (int i = 0; i < static_cast<int>(graph.operators.size()) && weighted < 2; ++i) {
        weighted += is_weighted(graph.operators[index(i)].kind) ? 1 : 0;
        stem = weighted == 2 ? i : 0;
    }
    while (groups.size() > 1 && groups[0].operators.to <= stem) {
        groups[0].operators.to = groups[1].operators.to;
        groups.erase(groups.begin() + 1);
    }
    return groups;
}

Plan planned(const Graph& graph, std::vector<Group> groups, int threads) {
    return Planner(graph, std::move(groups), threads).take();
}

}  // namespace mobilenets
