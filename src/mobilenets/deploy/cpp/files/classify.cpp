// Classifies a PPM image: reads it, resizes it as the network expects, and prints the labels with the highest scores.
//
//     example IMAGE.ppm
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
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
    constexpr int views = (1 + mobilenet::mirrors_down) * (1 + mobilenet::mirrors_across);
    std::vector<double> logits(mobilenet::classes);
    for (int down = 0; down <= mobilenet::mirrors_down; ++down) {
        for (int across = 0; across <= mobilenet::mirrors_across; ++across) {
            const auto view = mobilenet::run(mobilenet::mirrored(input, across > 0, down > 0).pixels.data());
            for (int i = 0; i < mobilenet::classes; ++i) logits[i] += static_cast<double>(view.logits[i]) / views;
        }
    }

    const double most = *std::max_element(logits.begin(), logits.end());
    std::vector<double> scores;
    for (const double logit : logits) scores.push_back(std::exp((logit - most) / static_cast<double>(mobilenet::temperature)));
    const double total = std::accumulate(scores.begin(), scores.end(), 0.0);
    std::vector<int> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return scores[a] > scores[b]; });
    for (std::size_t i = 0; i < std::min<std::size_t>(5, order.size()); ++i)
        std::printf("%s  %.4f\n", mobilenet::labels[order[i]], scores[order[i]] / total);
}
