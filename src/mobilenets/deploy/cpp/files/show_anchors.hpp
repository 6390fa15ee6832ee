// Prints the anchors with the highest logits and what the network says of them: label, logit, and the offsets of the box.
// With `--nms`, the exported network returns boxes.
#pragma once

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <type_traits>
#include <vector>

#include "image.hpp"
#include "network.hpp"
#include "ppm.hpp"

namespace mobilenet {

inline constexpr const char* usage = "IMAGE.ppm";
inline constexpr int more_arguments = 0;  // behind the image

/// Runs the network and shows what it returns; the program's exit code.
inline int show(const Image&, const Image& input, char**) {
    const Outputs outputs = run(input.pixels.data());

    constexpr std::size_t anchors = std::extent_v<std::remove_reference_t<decltype(outputs.logits)>, 0>;
    constexpr int columns = std::extent_v<std::remove_reference_t<decltype(outputs.logits)>, 1>;
    constexpr int background = columns - classes;  // columns before the first class
    const auto best = [&](std::size_t anchor) {
        const float* first = outputs.logits[anchor] + background;
        return static_cast<int>(std::max_element(first, first + classes) - first);
    };
    const auto logit = [&](std::size_t anchor) { return outputs.logits[anchor][background + best(anchor)]; };
    std::vector<std::size_t> order(anchors);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return logit(a) > logit(b); });
    order.resize(std::min<std::size_t>(5, anchors));
    for (const std::size_t anchor : order) {
        std::printf("anchor %zu  %s  %.4f", anchor, labels[best(anchor)], static_cast<double>(logit(anchor)));
        for (const float offset : outputs.offsets[anchor]) std::printf("  %.4f", static_cast<double>(offset));
        std::printf("\n");
    }
    return 0;
}

}  // namespace mobilenet
