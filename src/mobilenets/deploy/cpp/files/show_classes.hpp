// Prints the labels with the highest scores.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <vector>

#include "image.hpp"
#include "network.hpp"
#include "ppm.hpp"

namespace mobilenet {

inline constexpr const char* usage = "IMAGE.ppm";
inline constexpr int more_arguments = 0;  // behind the image

/// Runs the network and shows what it returns; the program's exit code.
inline int show(const Image&, const Image& input, char**) {
    constexpr int views = (1 + mirrors_down) * (1 + mirrors_across);
    std::vector<double> logits(classes);
    for (int down = 0; down <= mirrors_down; ++down) {
        for (int across = 0; across <= mirrors_across; ++across) {
            const auto view = run(mirrored(input, across > 0, down > 0).pixels.data());
            for (int i = 0; i < classes; ++i) logits[i] += static_cast<double>(view.logits[i]) / views;
        }
    }

    const double most = *std::max_element(logits.begin(), logits.end());
    std::vector<double> scores;
    for (const double logit : logits) scores.push_back(std::exp((logit - most) / static_cast<double>(temperature)));
    const double total = std::accumulate(scores.begin(), scores.end(), 0.0);
    std::vector<int> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return scores[a] > scores[b]; });
    for (std::size_t i = 0; i < std::min<std::size_t>(5, order.size()); ++i)
        std::printf("%s  %.4f\n", labels[order[i]], scores[order[i]] / total);
    return 0;
}

}  // namespace mobilenet
