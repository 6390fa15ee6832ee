// Writes a PGM image of the image's own size whose numbers are indices into the labels, and prints each label's share.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <type_traits>

#include "image.hpp"
#include "network.hpp"
#include "ppm.hpp"

namespace mobilenet {

inline constexpr const char* usage = "IMAGE.ppm CLASSES.pgm";
inline constexpr int more_arguments = 1;  // behind the image

/// The class at a pixel of the input.
template <typename Found>
std::uint8_t class_at(const Found& outputs, int y, int x) {
    if constexpr (requires { outputs.classes; }) {
        return outputs.classes[y][x];
    } else {  // the place of the coarse map that the pixel lies in
        constexpr int rows = std::extent_v<std::remove_reference_t<decltype(outputs.logits)>, 0>;
        constexpr int columns = std::extent_v<std::remove_reference_t<decltype(outputs.logits)>, 1>;
        const auto& logits = outputs.logits[y * rows / height][x * columns / width];
        return static_cast<std::uint8_t>(std::max_element(logits, logits + classes) - logits);
    }
}

/// The pixel of the input that a pixel of the image lies in.
inline int nearest(int at, double scale, double start, int length) {
    return std::clamp(static_cast<int>(std::floor((at + 0.5 - start) / scale)), 0, length - 1);
}

/// Runs the network and shows what it returns; the program's exit code.
inline int show(const Image& image, const Image& input, char** more) {
    const Placement place = placement(image, width, height);
    const Outputs outputs = run(input.pixels.data());

    Image found{image.width, image.height, 1, {}};
    std::array<std::size_t, classes> pixels{};
    for (int y = 0; y < image.height; ++y) {
        const int input_y = nearest(y, place.scale_y, place.top, height);
        for (int x = 0; x < image.width; ++x) {
            const int input_x = nearest(x, place.scale_x, place.left, width);
            found.pixels.push_back(class_at(outputs, input_y, input_x));
            ++pixels[found.pixels.back()];
        }
    }
    if (!write_pgm(more[0], found)) {
        std::fprintf(stderr, "%s cannot be written\n", more[0]);
        return 1;
    }
    for (int i = 0; i < classes; ++i) {
        const double share = static_cast<double>(pixels[i]) / static_cast<double>(found.pixels.size());
        if (pixels[i] > 0) std::printf("%s  %.4f\n", labels[i], share);
    }
    return 0;
}

}  // namespace mobilenet
