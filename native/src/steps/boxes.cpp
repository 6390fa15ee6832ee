// The tail of a detector: boxes from offsets at anchors, and non-maximum suppression.
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "step.hpp"

namespace mobilenets {
namespace {

struct Box {
    float x0, y0, x1, y1;

    float area() const { return (x1 - x0) * (y1 - y0); }
};

class Boxes final : public Step {
public:
    Boxes(const Graph& graph, const Operator& operation) : anchors_(graph.tensor(operation.anchors).copied<float>()) {
        for (std::size_t i = 0; i < 4; ++i) variances_[i] = static_cast<float>(operation.variances[i]);
        height_ = static_cast<float>(operation.size[0]), width_ = static_cast<float>(operation.size[1]);
    }

    Span needed(std::size_t, Span rows) const override { return rows; }

    void compute(const Job& job) const override {
        const float largest = static_cast<float>(std::log(1000.0 / 16));  // of the coded width and height
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            const float* offset = job.inputs[0].numbers<float>(y);
            const float* anchor = anchors_.data() + std::size_t{4} * static_cast<std::size_t>(y);
            float* box = job.outputs[0].numbers<float>(y);
            for (std::size_t axis = 0; axis < 2; ++axis) {
                const float side = anchor[axis + 2] - anchor[axis];
                const float center = offset[axis] * variances_[axis] * side + (anchor[axis] + 0.5F * side);
                const float half = 0.5F * (std::exp(std::min(offset[axis + 2] * variances_[axis + 2], largest)) * side);
                const float edge = axis == 0 ? width_ : height_;
                box[axis] = std::min(std::max(center - half, 0.0F), edge);
                box[axis + 2] = std::min(std::max(center + half, 0.0F), edge);
            }
        }
    }

private:
    std::vector<float> anchors_;
    std::array<float, 4> variances_{};
    float height_, width_;
};

/// The largest 32-bit float that does not exceed a number.
float float_below(double number) {
    const auto nearest = static_cast<float>(number);
    return static_cast<double>(nearest) <= number ? nearest : std::nextafter(nearest, -INFINITY);
}

bool overlaps(const Box& a, const Box& b, float at_most) {
    const float width = std::max(std::min(a.x1, b.x1) - std::max(a.x0, b.x0), 0.0F);
    const float height = std::max(std::min(a.y1, b.y1) - std::max(a.y0, b.y0), 0.0F);
    const float shared = width * height;
    return shared / (a.area() + b.area() - shared) > at_most;  // two empty boxes give NaN, which exceeds nothing
}

class Nms final : public Step {
public:
    Nms(const Graph& graph, const Operator& operation) : thresholds_(graph.tensor(operation.thresholds).copied<float>()) {
        count_ = graph.input(operation).height();
        first_ = operation.first, candidates_ = static_cast<std::size_t>(operation.candidates);
        places_ = graph.output(operation).height();
        at_most_ = float_below(operation.iou);
    }

    Span needed(std::size_t, Span) const override { return {0, count_}; }

    void compute(const Job& job) const override {
        std::vector<Candidate> kept = chosen(job);
        auto* boxes = job.outputs[0].numbers<Box>(0);
        auto* scores = job.outputs[1].numbers<float>(0);
        auto* classes = job.outputs[2].numbers<std::int32_t>(0);
        for (std::size_t i = 0; i < static_cast<std::size_t>(places_); ++i) {
            const bool is_used = i < kept.size();
            boxes[i] = is_used ? kept[i].box : Box{0, 0, 0, 0};
            scores[i] = is_used ? kept[i].score : 0;
            classes[i] = is_used ? kept[i].label : -1;
        }
    }

private:
    struct Candidate {
        Box box;
        float score;
        int label;
    };

    std::vector<Candidate> chosen(const Job& job) const {
        std::vector<Candidate> all;
        for (int label = 0; label < static_cast<int>(thresholds_.size()); ++label) add_candidates(job, label, all);
        std::stable_sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
        std::vector<Candidate> kept;
        for (const Candidate& candidate : all) {
            if (kept.size() == static_cast<std::size_t>(places_)) break;
            const bool is_beaten = std::any_of(kept.begin(), kept.end(), [&](const Candidate& better) {
                return better.label == candidate.label && overlaps(better.box, candidate.box, at_most_);
            });
            if (!is_beaten) kept.push_back(candidate);
        }
        return kept;
    }

    /// The best of a class above its threshold, anchor by anchor.
    void add_candidates(const Job& job, int label, std::vector<Candidate>& all) const {
        const auto score_of = [&](int anchor) { return job.inputs[1].numbers<float>(anchor)[first_ + label]; };
        std::vector<int> anchors;
        for (int anchor = 0; anchor < count_; ++anchor) {
            if (score_of(anchor) > thresholds_[static_cast<std::size_t>(label)]) anchors.push_back(anchor);
        }
        if (anchors.size() > candidates_) {
            std::stable_sort(anchors.begin(), anchors.end(), [&](int a, int b) { return score_of(a) > score_of(b); });
            anchors.resize(candidates_);
            std::sort(anchors.begin(), anchors.end());
        }
        for (int anchor : anchors) all.push_back({*job.inputs[0].numbers<Box>(anchor), score_of(anchor), label});
    }

    std::vector<float> thresholds_;
    int count_, first_, places_;
    std::size_t candidates_;
    float at_most_;
};

}  // namespace

Made make_boxes(const Graph& graph, const Operator& operation, const Kernels&) {
    return std::make_unique<Boxes>(graph, operation);
}

Made make_nms(const Graph& graph, const Operator& operation, const Kernels&) { return std::make_unique<Nms>(graph, operation); }

}  // namespace mobilenets
