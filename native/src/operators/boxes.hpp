// The tail of a detector: boxes from offsets at anchors, and non-maximum suppression.
#pragma once

#include "rows.hpp"

namespace mobilenets {

/// A box in px of the input.
struct Box {
    float x0, y0, x1, y1;

    float area() const { return (x1 - x0) * (y1 - y0); }
};

/// Whether the IoU of two boxes exceeds a threshold. That of two empty boxes is NaN, which exceeds nothing.
inline bool overlap(const Box& a, const Box& b, float at_most) {
    const float width = larger(smaller(a.x1, b.x1) - larger(a.x0, b.x0), 0.0F);
    const float height = larger(smaller(a.y1, b.y1) - larger(a.y0, b.y0), 0.0F);
    const float shared = width * height;
    return shared / (a.area() + b.area() - shared) > at_most;
}

/// Boxes from offsets at anchors (SSD, eq. 2), clipped to the input.
struct Boxes {
    const float* anchors = nullptr;  // x0 y0 x1 y1 of each
    float variances[4] = {1, 1, 1, 1};
    float height = 0, width = 0;  // of the input

    template <class Kernels>
    void compute(const Kernels&, const Job& job) const {
        constexpr auto largest = static_cast<float>(4.13516655674235585);  // of the coded width and height: ln(1000 / 16)
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            const float* offset = job.inputs[0].numbers<float>(y);
            const float* anchor = anchors + 4 * index(y);
            float* box = job.outputs[0].numbers<float>(y);
            for (int axis = 0; axis < 2; ++axis) {
                const float side = anchor[axis + 2] - anchor[axis];
                const float center = offset[axis] * variances[axis] * side + (anchor[axis] + 0.5F * side);
                const float grown = __builtin_expf(smaller(offset[axis + 2] * variances[axis + 2], largest));
                const float half = 0.5F * (grown * side);
                const float edge = axis == 0 ? width : height;
                box[axis] = smaller(larger(center - half, 0.0F), edge);
                box[axis + 2] = smaller(larger(center + half, 0.0F), edge);
            }
        }
    }
};

/// Non-maximum suppression for each class: among the best candidates above the class's threshold, each suppresses overlapping
/// ones with lower scores. The result is the best of all classes in descending order of score; ties go to the first class and
/// anchor.
///
/// The boxes of a class are inserted into the result as they are found, and a class ends as soon as none of its boxes can enter
/// the result. So besides the result, only the candidates of one class are stored, as indices of anchors.
struct Nms {
    const float* thresholds = nullptr;  // of each class
    int classes = 1, first = 0;         // the column of the first class; earlier columns are not classes
    int anchors = 1;
    int candidates = 1, places = 1;  // of each class, and of the result
    float at_most = 1;               // largest IoU of two boxes of a class

    constexpr std::size_t scratch_bytes() const { return sizeof(std::int32_t) * index(smaller(candidates, anchors)); }

    template <class Kernels>
    void compute(const Kernels&, const Job& job) const {
        const Found found{job.outputs[0].numbers<Box>(0), job.outputs[1].numbers<float>(0),
                          job.outputs[2].numbers<std::int32_t>(0)};
        auto* best = reinterpret_cast<std::int32_t*>(job.scratch);
        int used = 0;
        for (int label = 0; label < classes; ++label) {
            const Scores scores{job.inputs[1].numbers<float>(0) + first + label, index(first + classes)};
            const int count = chosen(scores, thresholds[label], best);
            used = suppress(job.inputs[0].numbers<Box>(0), scores, label, best, count, found, used);
        }
        for (; used < places; ++used) found.set(used, Box{0, 0, 0, 0}, 0, -1);
    }

private:
    struct Found {
        Box* boxes;
        float* scores;
        std::int32_t* classes;

        void set(int at, const Box& box, float score, int label) const {
            boxes[at] = box, scores[at] = score, classes[at] = label;
        }
    };

    /// The scores of one class, by anchor.
    struct Scores {
        const float* start;
        std::size_t next;

        float operator[](int anchor) const { return start[index(anchor) * next]; }
        /// Among equal scores, the first anchor is better.
        bool worse(int a, int b) const {
            const float of_a = (*this)[a], of_b = (*this)[b];
            return of_a < of_b || (of_a == of_b && a > b);
        }
    };

    /// Selects the candidate anchors, the best first.
    int chosen(const Scores& scores, float threshold, std::int32_t* heap) const {
        const int most = smaller(candidates, anchors);
        int count = 0;  // size of the heap, whose root is the worst
        for (int anchor = 0; anchor < anchors; ++anchor) {
            if (!(scores[anchor] > threshold)) continue;
            if (count < most) {
                int at = count++;
                for (; at > 0 && scores.worse(anchor, heap[(at - 1) / 2]); at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
                heap[at] = anchor;
            } else if (scores.worse(heap[0], anchor)) {
                sink(scores, heap, count, anchor);
            }
        }
        for (int rest = count - 1; rest > 0; --rest) {
            const std::int32_t worst = heap[0];
            sink(scores, heap, rest, heap[rest]);
            heap[rest] = worst;
        }
        return count;
    }

    /// Replaces the root of a heap, which is its worst anchor.
    static void sink(const Scores& scores, std::int32_t* heap, int count, std::int32_t anchor) {
        int at = 0;
        for (int child = 1; child < count; child = 2 * at + 1) {
            if (child + 1 < count && scores.worse(heap[child + 1], heap[child])) ++child;
            if (!scores.worse(heap[child], anchor)) break;
            heap[at] = heap[child];
            at = child;
        }
        heap[at] = anchor;
    }

    /// Adds the boxes of a class that no better one suppresses; returns the number of places then in use.
    int suppress(const Box* boxes, const Scores& scores, int label, std::int32_t* best, int count, const Found& found,
                 int used) const {
        int kept = 0;  // at the beginning of `best`
        for (int i = 0; i < count; ++i) {
            const std::int32_t anchor = best[i];
            const float score = scores[anchor];
            if (used == places && !(score > found.scores[used - 1])) break;
            bool is_beaten = false;
            for (int k = 0; k < kept && !is_beaten; ++k) is_beaten = overlap(boxes[best[k]], boxes[anchor], at_most);
            if (is_beaten) continue;
            best[kept++] = anchor;
            int at = used < places ? used++ : used - 1;
            for (; at > 0 && found.scores[at - 1] < score; --at)
                found.set(at, found.boxes[at - 1], found.scores[at - 1], found.classes[at - 1]);
            found.set(at, boxes[anchor], score, label);
        }
        return used;
    }
};

}  // namespace mobilenets
