// Finds the class of each pixel of a PPM image: reads it, resizes it as the network expects, writes a PGM image of its own size
// whose numbers are indices into the labels, and prints each label's share of the image.
//
//     example IMAGE.ppm CLASSES.pgm
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <type_traits>

#include "image.hpp"
#include "network.hpp"
#include "ppm.hpp"

namespace {

/// The class at a pixel of the input.
template <typename Outputs>
std::uint8_t class_at(const Outputs& outputs, int y, int x) {
    if constexpr (requires { outputs.classes; }) {
        return outputs.classes[y][x];
    } else {  // the place of the coarse map that the pixel lies in
        constexpr int rows = std::extent_v<std::remove_reference_t<decltype(outputs.logits)>, 0>;
        constexpr int columns = std::extent_v<std::remove_reference_t<decltype(outputs.logits)>, 1>;
        const auto& logits = outputs.logits[y * rows / mobilenet::height][x * columns / mobilenet::width];
        return static_cast<std::uint8_t>(std::max_element(logits, logits + mobilenet::classes) - logits);
    }
}

/// The pixel of the input that a pixel of the image lies in.
int nearest(int at, double scale, double start, int length) {
    return std::clamp(static_cast<int>(std::floor((at + 0.5 - start) / scale)), 0, length - 1);
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 3) {
        std::fprintf(stderr, "usage: example IMAGE.ppm CLASSES.pgm\n");
        return 2;
    }
    const mobilenet::Image image = mobilenet::read_ppm(arguments[1], mobilenet::channels);
    if (image.pixels.empty()) return 1;
    const mobilenet::Image input = mobilenet::fitted(image, mobilenet::width, mobilenet::height);
    const mobilenet::Placement place = mobilenet::placement(image, mobilenet::width, mobilenet::height);

    mobilenet::init();
    const mobilenet::Outputs outputs = mobilenet::run(input.pixels.data());

    mobilenet::Image classes{image.width, image.height, 1, {}};
    std::array<std::size_t, mobilenet::classes> pixels{};
    for (int y = 0; y < image.height; ++y) {
        const int input_y = nearest(y, place.scale_y, place.top, mobilenet::height);
        for (int x = 0; x < image.width; ++x) {
            const int input_x = nearest(x, place.scale_x, place.left, mobilenet::width);
            classes.pixels.push_back(class_at(outputs, input_y, input_x));
            ++pixels[classes.pixels.back()];
        }
    }
    if (!mobilenet::write_pgm(arguments[2], classes)) {
        std::fprintf(stderr, "%s cannot be written\n", arguments[2]);
        return 1;
    }
    for (int i = 0; i < mobilenet::classes; ++i) {
        const double share = static_cast<double>(pixels[i]) / static_cast<double>(classes.pixels.size());
        if (pixels[i] > 0) std::printf("%s  %.4f\n", mobilenet::labels[i], share);
    }
}
