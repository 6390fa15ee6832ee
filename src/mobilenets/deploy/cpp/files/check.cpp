// Runs the network on images from a file and writes its outputs to another, as they lie in memory.
//
//     check floats|pixels IMAGES OUTPUTS
//
// IMAGES holds any number of images, one after the other: preprocessed floats, or pixels of one byte for each channel. OUTPUTS
// then holds all outputs of the first image, in the order of `network.hpp`, then those of the second.
#include <cstdio>
#include <cstring>

#include "network.hpp"

namespace {

constexpr std::size_t numbers = static_cast<std::size_t>(mobilenet::height) * mobilenet::width * mobilenet::channels;

template <typename Number>
int run(const char* images, const char* outputs) {
    static Number image[numbers];
    std::FILE* const in = std::fopen(images, "rb");
    std::FILE* const out = std::fopen(outputs, "wb");
    if (!in || !out) {
        std::fprintf(stderr, "%s cannot be %s\n", in ? outputs : images, in ? "written" : "read");
        return 1;
    }
    mobilenet::init();
    while (std::fread(image, sizeof(Number), numbers, in) == numbers) {
        mobilenet::each(mobilenet::run(image), [out](const char*, const auto& output) {
            std::fwrite(&output, sizeof output, 1, out);
        });
    }
    std::fclose(in);
    const bool is_whole = std::ferror(out) == 0;
    return std::fclose(out) == 0 && is_whole ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 4) {
        std::fprintf(stderr, "usage: check floats|pixels IMAGES OUTPUTS\n");
        return 2;
    }
    const bool in_floats = std::strcmp(arguments[1], "floats") == 0;
    return in_floats ? run<float>(arguments[2], arguments[3]) : run<std::uint8_t>(arguments[2], arguments[3]);
}
