// Runs the network on images from a file and writes its logits to another, as 32-bit floats.
//
//     check floats|pixels IMAGES LOGITS
//
// IMAGES holds any number of images, one after the other: preprocessed floats, or pixels of one byte for each channel.
#include <cstdio>
#include <cstring>

#include "network.hpp"

namespace {

constexpr std::size_t numbers = static_cast<std::size_t>(mobilenet::height) * mobilenet::width * mobilenet::channels;

template <typename Number>
int run(const char* images, const char* logits) {
    static Number image[numbers];
    std::FILE* const in = std::fopen(images, "rb");
    std::FILE* const out = std::fopen(logits, "wb");
    if (!in || !out) {
        std::fprintf(stderr, "%s cannot be %s\n", in ? logits : images, in ? "written" : "read");
        return 1;
    }
    mobilenet::init();
    while (std::fread(image, sizeof(Number), numbers, in) == numbers) {
        if (std::fwrite(mobilenet::run(image), sizeof(float), mobilenet::classes, out) != mobilenet::classes) return 1;
    }
    std::fclose(in);
    return std::fclose(out);
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 4) {
        std::fprintf(stderr, "usage: check floats|pixels IMAGES LOGITS\n");
        return 2;
    }
    const bool in_floats = std::strcmp(arguments[1], "floats") == 0;
    return in_floats ? run<float>(arguments[2], arguments[3]) : run<std::uint8_t>(arguments[2], arguments[3]);
}
