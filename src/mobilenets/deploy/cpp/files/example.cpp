// Runs the network on a PPM image: reads it, resizes it as the network expects, and shows what the network says of it.
// How that is shown is in `show.hpp`.
#include <cstdio>

#include "image.hpp"
#include "network.hpp"
#include "ppm.hpp"
#include "show.hpp"

int main(int count, char** arguments) {
    if (count != 2 + mobilenet::more_arguments) {
        std::fprintf(stderr, "usage: example %s\n", mobilenet::usage);
        return 2;
    }
    const mobilenet::Image image = mobilenet::read_ppm(arguments[1], mobilenet::channels);
    if (image.pixels.empty()) return 1;
    const mobilenet::Image input = mobilenet::fitted(image, mobilenet::width, mobilenet::height);

    mobilenet::init();
    return mobilenet::show(image, input, arguments + 2);
}
