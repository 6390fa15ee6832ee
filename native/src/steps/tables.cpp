// Matrix products and softmax; their factors are computed when a file is opened.
#include "../operators/tables.hpp"

#include "../errors.hpp"
#include "step.hpp"

namespace mobilenets {
namespace {

/// `Of` is FloatMatMul or ByteMatMul. A row of products needs a row of the first table, and all of the second.
template <class Of>
class MatMul final : public Step {
public:
    MatMul(const Of& of, int height, const Kernels& kernels) : of_(of), height_(height), kernels_(kernels) {}

    Span needed(std::size_t input, Span rows) const override { return input == 0 ? rows : Span{0, height_}; }
    void compute(const Job& job) const override { of_.compute(kernels_, job); }

private:
    Of of_;
    int height_;  // of the second
    const Kernels& kernels_;
};

ByteMatMul byte_matmul(const Graph& graph, const Operator& operation, const Tables& tables) {
    const Value &first = graph.input(operation), &second = graph.input(operation, 1), &made = graph.output(operation);
    if (tables.inner > INT32_MAX / (255 * 255))
        throw GraphError("'" + operation.name + "' has sums that do not fit into 32 bits");
    const Factor by = factor(static_cast<double>(first.scale()) * static_cast<double>(second.scale()) /
                             static_cast<double>(made.scale()));
    return {tables, {first.zero_point(), second.zero_point()}, by, made.zero_point()};
}

}  // namespace

Made make_matmul(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    const Value& made = graph.output(operation);
    const Tables tables{graph.input(operation).channels(), made.channels(), operation.transposed};
    const int height = graph.input(operation, 1).height();
    if (made.quantized()) return std::make_unique<MatMul<ByteMatMul>>(byte_matmul(graph, operation, tables), height, kernels);
    return std::make_unique<MatMul<FloatMatMul>>(FloatMatMul{tables, static_cast<float>(operation.factor)}, height, kernels);
}

Made make_softmax(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    const Value &read = graph.input(operation), &made = graph.output(operation);
    if (!read.quantized()) return std::make_unique<RowByRow<FloatSoftmax>>(FloatSoftmax{made.channels()}, kernels);
    const ByteSoftmax of{made.channels(), read.scale(), made.scale(), read.zero_point(), made.zero_point()};
    return std::make_unique<RowByRow<ByteSoftmax>>(of, kernels);
}

}  // namespace mobilenets
