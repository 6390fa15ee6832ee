// Runs a detector on a PPM image: reads it, resizes it as the network expects, and prints the anchors with the highest logits
// and what the network says of them: label, logit, and the offsets of the box. With `--nms`, the exported network returns boxes.
//
//     example IMAGE.ppm
#include <algorithm>
#include <cstdio>
#include <numeric>
#include <type_traits>
#include <vector>

#include "image.hpp"
#include "network.hpp"
#include "ppm.hpp"

int main(int count, char** arguments) {
    if (count != 2) {
        std::fprintf(stderr, "usage: example IMAGE.ppm\n");
        return 2;
    }
    const mobilenet::Image image = mobilenet::read_ppm(arguments[1], mobilenet::channels);
    if (image.pixels.empty()) return 1;
    const mobilenet::Image input = mobilenet::fitted(image, mobilenet::width, mobilenet::height);

    mobilenet::init();
    const mobilenet::Outputs outputs = mobilenet::run(input.pixels.data());

    constexpr std::size_t anchors = std::extent_v<std::remove_reference_t<decltype(outputs.logits)>, 0>;
    constexpr int columns = std::extent_v<std::remove_reference_t<decltype(outputs.logits)>, 1>;
    constexpr int background = columns - mobilenet::classes;  // columns before the first class
    const auto best = [&](std::size_t anchor) {
        const float* first = outputs.logits[anchor] + background;
        return static_cast<int>(std::max_element(first, first + mobilenet::classes) - first);
    };
    const auto logit = [&](std::size_t anchor) { return outputs.logits[anchor][background + best(anchor)]; };
    std::vector<std::size_t> order(anchors);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return logit(a) > logit(b); });
    order.resize(std::min<std::size_t>(5, anchors));
    for (const std::size_t anchor : order) {
        std::printf("anchor %zu  %s  %.4f", anchor, mobilenet::labels[best(anchor)], static_cast<double>(logit(anchor)));
        for (const float offset : outputs.offsets[anchor]) std::printf("  %.4f", static_cast<double>(offset));
        std::printf("\n");
    }
}
