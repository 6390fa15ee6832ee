// Prints label, score and box of each object: x0 y0 x1 y1 in px of the image, the highest score first.
#pragma once

#include <algorithm>
#include <cstdio>

#include "image.hpp"
#include "network.hpp"
#include "ppm.hpp"

namespace mobilenet {

inline constexpr const char* usage = "IMAGE.ppm";
inline constexpr int more_arguments = 0;  // behind the image

/// Runs the network and shows what it returns; the program's exit code.
inline int show(const Image& image, const Image& input, char**) {
    const Placement place = placement(image, width, height);
    const Outputs outputs = run(input.pixels.data());

    const auto on_image = [](double edge, double scale, double start, int length) {
        return std::clamp(edge * scale + start, 0.0, static_cast<double>(length));
    };
    const int most = static_cast<int>(sizeof outputs.scores / sizeof(float));
    for (int i = 0; i < most && outputs.classes[i] >= 0; ++i) {
        const auto& box = outputs.boxes[i];
        std::printf("%s  %.4f", labels[outputs.classes[i]], static_cast<double>(outputs.scores[i]));
        for (int edge = 0; edge < 4; ++edge) {
            const bool is_x = edge % 2 == 0;
            const double at = on_image(static_cast<double>(box[edge]), is_x ? place.scale_x : place.scale_y,
                                       is_x ? place.left : place.top, is_x ? image.width : image.height);
            std::printf("  %.1f", at);
        }
        std::printf("\n");
    }
    return 0;
}

}  // namespace mobilenet
