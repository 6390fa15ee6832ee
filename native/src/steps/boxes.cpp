// The tail of a detector: it holds anchors and thresholds.
#include "../operators/boxes.hpp"

#include <cmath>
#include <vector>

#include "step.hpp"

namespace mobilenets {
namespace {

class BoxesStep final : public Step {
public:
    BoxesStep(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : kernels_(kernels), anchors_(graph.tensor(operation.anchors).copied<float>()) {
        of_.anchors = anchors_.data();
        for (std::size_t i = 0; i < 4; ++i) of_.variances[i] = static_cast<float>(operation.variances[i]);
        of_.height = static_cast<float>(operation.size[0]), of_.width = static_cast<float>(operation.size[1]);
    }

    Span needed(std::size_t, Span rows) const override { return rows; }
    void compute(const Job& job) const override { of_.compute(kernels_, job); }

private:
    const Kernels& kernels_;
    std::vector<float> anchors_;
    Boxes of_;
};

/// The largest 32-bit float that does not exceed a number.
float float_below(double number) {
    const auto nearest = static_cast<float>(number);
    return static_cast<double>(nearest) <= number ? nearest : std::nextafter(nearest, -INFINITY);
}

class NmsStep final : public Step {
public:
    NmsStep(const Graph& graph, const Operator& operation, const Kernels& kernels)
        : kernels_(kernels), thresholds_(graph.tensor(operation.thresholds).copied<float>()) {
        of_.thresholds = thresholds_.data();
        of_.classes = static_cast<int>(thresholds_.size()), of_.first = operation.first;
        of_.anchors = graph.input(operation).height();
        of_.candidates = operation.candidates, of_.places = graph.output(operation).height();
        of_.at_most = float_below(operation.iou);
    }

    Span needed(std::size_t, Span) const override { return {0, of_.anchors}; }
    std::size_t scratch_bytes() const override { return of_.scratch_bytes(); }
    void compute(const Job& job) const override { of_.compute(kernels_, job); }

private:
    const Kernels& kernels_;
    std::vector<float> thresholds_;
    Nms of_;
};

}  // namespace

Made make_boxes(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    return std::make_unique<BoxesStep>(graph, operation, kernels);
}

Made make_nms(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    return std::make_unique<NmsStep>(graph, operation, kernels);
}

}  // namespace mobilenets
