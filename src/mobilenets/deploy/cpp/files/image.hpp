// An image of any size becomes the network's input: cut, resized and padded by the rule of `contract.hpp`; and what is found
// on the input is brought back to the image. Resizing is that of Pillow to the last bit: two passes in integers, whose filters are
// as wide as the image is shrunk. The first pass is across, but down where that leaves much less for the second (since Pillow 13;
// before, it was always across).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "contract.hpp"
#include "ppm.hpp"

namespace mobilenet {

struct Filter {
    double support;
    double (*at)(double x);
};

inline Filter filter_of(Interpolation kind) {
    constexpr double pi = 3.14159265358979323846;
    static const auto sinc = [](double x) { return x == 0 ? 1.0 : std::sin(x * pi) / (x * pi); };
    switch (kind) {
        case Interpolation::bicubic:
            return {2, [](double x) {
                        x = std::fabs(x);
                        constexpr double a = -0.5;
                        if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
                        return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
                    }};
        case Interpolation::lanczos:
            return {3, [](double x) { return -3 <= x && x < 3 ? sinc(x) * sinc(x / 3) : 0.0; }};
        default:
            return {1, [](double x) { return std::max(0.0, 1 - std::fabs(x)); }};
    }
}

/// What one place of a resized side is made of: so many places from `first`, times weights of 22 bits.
struct Blend {
    int first = 0;
    std::vector<std::int32_t> weights;
};

constexpr int weight_bits = 22;

inline std::vector<Blend> blends(int length, int made) {
    const Filter filter = filter_of(interpolation);
    const double scale = static_cast<double>(length) / made, spread = resize == Resize::sample ? 1.0 : std::max(scale, 1.0);
    std::vector<Blend> all(static_cast<std::size_t>(made));
    for (int i = 0; i < made; ++i) {
        const double center = (i + 0.5) * scale, support = filter.support * spread;
        Blend& blend = all[static_cast<std::size_t>(i)];
        blend.first = std::max(static_cast<int>(center - support + 0.5), 0);
        const int last = std::min(static_cast<int>(center + support + 0.5), length);
        std::vector<double> weights;
        double total = 0;
        for (int x = blend.first; x < last; ++x) {
            weights.push_back(filter.at((x - center + 0.5) * (1 / spread)));
            total += weights.back();
        }
        for (double weight : weights) {
            if (total != 0) weight /= total;
            blend.weights.push_back(static_cast<std::int32_t>(weight * (1 << weight_bits) + (weight < 0 ? -0.5 : 0.5)));
        }
    }
    return all;
}

/// The image with its rows resized: each row of `width` places becomes one of `made`.
inline Image resized_across(const Image& image, int made) {
    if (made == image.width) return image;
    Image out{made, image.height, image.channels, {}};
    out.pixels.reserve(static_cast<std::size_t>(made) * static_cast<std::size_t>(image.height * image.channels));
    const std::vector<Blend> all = blends(image.width, made);
    for (int y = 0; y < image.height; ++y) {
        const std::uint8_t* row = image.pixels.data() + static_cast<std::size_t>(y) * image.width * image.channels;
        for (const Blend& blend : all) {
            for (int c = 0; c < image.channels; ++c) {
                std::int32_t sum = 1 << (weight_bits - 1);
                const std::uint8_t* place = row + static_cast<std::size_t>(blend.first) * image.channels + c;
                for (const std::int32_t weight : blend.weights) {
                    sum += *place * weight;
                    place += image.channels;
                }
                out.pixels.push_back(static_cast<std::uint8_t>(std::clamp(sum >> weight_bits, 0, 255)));
            }
        }
    }
    return out;
}

inline Image transposed(const Image& image) {
    Image out{image.height, image.width, image.channels, {}};
    out.pixels.resize(image.pixels.size());
    for (int y = 0; y < image.height; ++y)
        for (int x = 0; x < image.width; ++x)
            for (int c = 0; c < image.channels; ++c)
                out.pixels[(static_cast<std::size_t>(x) * image.height + y) * image.channels + c] =
                    image.pixels[(static_cast<std::size_t>(y) * image.width + x) * image.channels + c];
    return out;
}

/// Where the nearest places lie. The sum of the steps is rounded as Pillow rounds it.
inline std::vector<int> nearest_places(int length, int made) {
    const double step = static_cast<double>(length) / made;
    std::vector<int> places;
    double at = step * 0.5;
    for (int i = 0; i < made; ++i, at += step) places.push_back(std::min(static_cast<int>(at), length - 1));
    return places;
}

inline Image resized(const Image& image, int width, int height) {
    if (interpolation != Interpolation::nearest) {
        if (image.height - height > 2 * std::max(0, image.width - width))
            return resized_across(transposed(resized_across(transposed(image), height)), width);
        return transposed(resized_across(transposed(resized_across(image, width)), height));
    }
    Image out{width, height, image.channels, {}};
    const std::vector<int> across = nearest_places(image.width, width), down = nearest_places(image.height, height);
    for (const int y : down)
        for (const int x : across)
            for (int c = 0; c < image.channels; ++c)
                out.pixels.push_back(image.pixels[(static_cast<std::size_t>(y) * image.width + x) * image.channels + c]);
    return out;
}

/// The part of an image from a corner. What is beyond it is the mean.
inline Image part(const Image& image, int left, int top, int width, int height) {
    if (left == 0 && top == 0 && width == image.width && height == image.height) return image;
    Image out{width, height, image.channels, {}};
    for (int y = top; y < top + height; ++y) {
        for (int x = left; x < left + width; ++x) {
            const bool is_inside = x >= 0 && x < image.width && y >= 0 && y < image.height;
            const std::size_t at = (static_cast<std::size_t>(y) * image.width + x) * image.channels;
            for (int c = 0; c < image.channels; ++c)
                out.pixels.push_back(is_inside ? image.pixels[at + c]
                                               : static_cast<std::uint8_t>(255 * mean[means == 1 ? 0 : c] + 0.5F));
        }
    }
    return out;
}

/// The image mirrored left to right, or upside down, or both.
inline Image mirrored(const Image& image, bool across, bool down) {
    Image out{image.width, image.height, image.channels, {}};
    for (int y = 0; y < image.height; ++y) {
        for (int x = 0; x < image.width; ++x) {
            const int from_y = down ? image.height - 1 - y : y, from_x = across ? image.width - 1 - x : x;
            for (int c = 0; c < image.channels; ++c)
                out.pixels.push_back(image.pixels[(static_cast<std::size_t>(from_y) * image.width + from_x) * image.channels + c]);
        }
    }
    return out;
}

/// How an image is brought to the network's input: a part is cut out and resized, and the input lies somewhere on the result.
struct Fit {
    int cut_left = 0, cut_top = 0, cut_width = 0, cut_height = 0;  // px of the image
    int width = 0, height = 0;                                      // that it is resized to
    int left = 0, top = 0;  // the input's corner on the resized part; negative where the input is padded
};

inline Fit fit(const Image& image, int width, int height) {
    const double input_width = width, input_height = height;
    Fit way{0, 0, image.width, image.height, width, height};
    switch (resize) {
        case Resize::crop_then_stretch: {
            way.cut_left = static_cast<int>((image.width - image.width * crop) / 2);
            way.cut_top = static_cast<int>((image.height - image.height * crop) / 2);
            way.cut_width -= 2 * way.cut_left, way.cut_height -= 2 * way.cut_top;
            return way;
        }
        case Resize::shorter_side_then_crop: {
            const int shorter = static_cast<int>(input_height / crop + 1e-6);
            const bool is_tall = image.width <= image.height;
            const int long_side = is_tall ? image.height : image.width, short_side = is_tall ? image.width : image.height;
            const int longer = static_cast<int>(static_cast<double>(std::int64_t{shorter} * long_side) / short_side);
            way.width = is_tall ? shorter : longer, way.height = is_tall ? longer : shorter;
            way.left = static_cast<int>(std::nearbyint((way.width - width) / 2.0));
            way.top = static_cast<int>(std::nearbyint((way.height - height) / 2.0));
            return way;
        }
        case Resize::letterbox: {
            const double scale = std::min(input_width / image.width, input_height / image.height);
            way.width = std::clamp(static_cast<int>(std::nearbyint(image.width * scale)), 1, width);
            way.height = std::clamp(static_cast<int>(std::nearbyint(image.height * scale)), 1, height);
            way.left = -((width - way.width) / 2), way.top = -((height - way.height) / 2);
            return way;
        }
        default: return way;
    }
}

/// The network's input, `width` x `height`.
inline Image fitted(const Image& image, int width, int height) {
    const Fit way = fit(image, width, height);
    const Image cut = part(image, way.cut_left, way.cut_top, way.cut_width, way.cut_height);
    return part(resized(cut, way.width, way.height), way.left, way.top, width, height);
}

/// Where the input lies on the image: x of the image = x of the input * scale_x + left, in px.
struct Placement {
    double scale_x = 1, scale_y = 1, left = 0, top = 0;
};

inline Placement placement(const Image& image, int width, int height) {
    const Fit way = fit(image, width, height);
    const double scale_x = static_cast<double>(way.cut_width) / way.width;
    const double scale_y = static_cast<double>(way.cut_height) / way.height;
    return {scale_x, scale_y, way.cut_left + way.left * scale_x, way.cut_top + way.top * scale_y};
}

}  // namespace mobilenet
