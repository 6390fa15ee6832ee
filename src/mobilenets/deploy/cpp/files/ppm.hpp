// Reads PPM and PGM files, and writes PGM files: binary, of 8 bits.
#pragma once

#include <cstdint>
#include <cstdio>
#include <vector>

namespace mobilenet {

struct Image {
    int width = 0, height = 0, channels = 0;
    std::vector<std::uint8_t> pixels;  // row by row, the channels of a pixel side by side; empty if there is no image
};

/// The next number of a header, behind spaces and comments; -1 if there is none.
inline int header_number(std::FILE* file) {
    int c = std::fgetc(file);
    while (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '#') {
        if (c == '#')
            while (c != '\n' && c != EOF) c = std::fgetc(file);
        c = std::fgetc(file);
    }
    if (c < '0' || c > '9') return -1;
    int number = 0;
    for (; c >= '0' && c <= '9' && number < 1'000'000; c = std::fgetc(file)) number = 10 * number + c - '0';
    return number;
}

/// The image of a file with this many channels. If there is none, it is empty, and why is said.
inline Image read_ppm(const char* path, int channels) {
    Image image;
    std::FILE* const file = std::fopen(path, "rb");
    if (!file) {
        std::fprintf(stderr, "%s cannot be opened\n", path);
        return image;
    }
    const int p = std::fgetc(file), kind = std::fgetc(file);
    image.channels = p == 'P' && kind == '6' ? 3 : p == 'P' && kind == '5' ? 1 : 0;
    image.width = header_number(file), image.height = header_number(file);
    const int highest = header_number(file);
    constexpr int most = 1 << 15;
    if (image.channels == channels && image.width > 0 && image.height > 0 && image.width < most && image.height < most &&
        highest == 255) {
        image.pixels.resize(static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) *
                            static_cast<std::size_t>(image.channels));
        if (std::fread(image.pixels.data(), 1, image.pixels.size(), file) != image.pixels.size()) image.pixels.clear();
    }
    std::fclose(file);
    if (image.pixels.empty())
        std::fprintf(stderr, "%s is not a binary %s image with %d channel%s of 8 bits\n", path, channels == 1 ? "PGM" : "PPM",
                     channels, channels == 1 ? "" : "s");
    return image;
}

/// Writes an image of one channel; false if that fails.
inline bool write_pgm(const char* path, const Image& image) {
    std::FILE* const file = std::fopen(path, "wb");
    if (!file) return false;
    std::fprintf(file, "P5\n%d %d\n255\n", image.width, image.height);
    const bool is_whole = std::fwrite(image.pixels.data(), 1, image.pixels.size(), file) == image.pixels.size();
    return std::fclose(file) == 0 && is_whole;
}

}  // namespace mobilenet
