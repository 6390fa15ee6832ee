#include "halves.hpp"

namespace mobilenets {
namespace {

/// Whether an operator has a kernel with 16-bit output.
bool has_kernel(const Operator& operation) {
    const bool fuses = operation.curve != Curve::sigmoid && operation.curve != Curve::gelu;
    return fuses && (operation.kind == Kind::conv || operation.kind == Kind::depthwise || operation.kind == Kind::add);
}

/// Whether an operator can read 16-bit numbers.
bool can_read(const Operator& operation) {
    return operation.kind == Kind::conv || operation.kind == Kind::depthwise || operation.kind == Kind::add;
}

}  // namespace

void compute_in_halves(Graph& graph) {
    graph.in_halves = true;
    const auto index = [](int value) { return static_cast<std::size_t>(value); };
    std::vector<bool> is_half(graph.values.size(), false);
    for (const Operator& operation : graph.operators) is_half[index(operation.outputs[0])] = has_kernel(operation);
    for (const Operator& operation : graph.operators) {
        if (can_read(operation)) continue;
        for (int value : operation.inputs) is_half[index(value)] = false;
    }
    for (const Output& output : graph.outputs) is_half[index(output.value)] = false;
    for (bool changes = true; changes;) {
        changes = false;
        const auto clear = [&](int value) {
            changes = changes || is_half[index(value)];
            is_half[index(value)] = false;
        };
        for (const Operator& operation : graph.operators) {
            const int made = operation.outputs[0];
            if (operation.kind == Kind::conv || !can_read(operation)) continue;
            for (int value : operation.inputs) {
                if (!is_half[index(value)]) clear(made);  // it has 16-bit output only for 16-bit input
            }
            if (operation.kind != Kind::add || is_half[index(made)]) continue;
            for (int value : operation.inputs) clear(value);  // both inputs of a sum have the same type
        }
    }
    for (std::size_t i = 0; i < is_half.size(); ++i) {
        if (is_half[i] && graph.values[i].number == Number::float32) graph.values[i].number = Number::bfloat16;
    }
}

}  // namespace mobilenets
