// Finds objects on a PPM image: reads it, resizes it as the network expects, and prints label, score and box of each object:
// x0 y0 x1 y1 in px of the image, the highest score first.
//
//     example IMAGE.ppm
#include <algorithm>
#include <cstdio>

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
    const mobilenet::Placement place = mobilenet::placement(image, mobilenet::width, mobilenet::height);

    mobilenet::init();
    const mobilenet::Outputs outputs = mobilenet::run(input.pixels.data());

    const auto on_image = [](double edge, double scale, double start, int length) {
        return std::clamp(edge * scale + start, 0.0, static_cast<double>(length));
    };
    const int most = static_cast<int>(sizeof outputs.scores / sizeof(float));
    for (int i = 0; i < most && outputs.classes[i] >= 0; ++i) {
        const auto& box = outputs.boxes[i];
        std::printf("%s  %.4f", mobilenet::labels[outputs.classes[i]], static_cast<double>(outputs.scores[i]));
        for (int edge = 0; edge < 4; ++edge) {
            const bool is_x = edge % 2 == 0;
            const double at = on_image(static_cast<double>(box[edge]), is_x ? place.scale_x : place.scale_y,
                                       is_x ? place.left : place.top, is_x ? image.width : image.height);
            std::printf("  %.1f", at);
        }
        std::printf("\n");
    }
}
