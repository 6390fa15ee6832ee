// Operators that move over maps: pooling, resizing, joining, and the class of each pixel.
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "../errors.hpp"
#include "../operators/pool.hpp"
#include "step.hpp"

namespace mobilenets {
namespace {

// ---- the mean over a window

/// `Of` is FloatPool, BytePool or ByteWholePool.
template <class Of>
class PoolStep final : public Step {
public:
    PoolStep(const Of& of, const Kernels& kernels) : of_(of), kernels_(kernels) {}

    Span needed(std::size_t, Span rows) const override { return of_.window.needed(rows); }
    int panels() const override { return panels_of(of_.window.channels); }
    void compute(const Job& job) const override { of_.compute(kernels_, job); }

private:
    Of of_;
    const Kernels& kernels_;
};

ByteWholePool whole_pool(const Graph& graph, const Operator& operation, const PoolWindow& window) {
    const Value &read = graph.input(operation), &made = graph.output(operation);
    if (window.places() > INT32_MAX / 256) throw GraphError("'" + operation.name + "' has sums that do not fit into 32 bits");
    const Factor whole = factor(static_cast<double>(read.scale()) / static_cast<double>(made.scale()));
    const auto places = static_cast<std::uint64_t>(window.places());
    const int shift = std::min(static_cast<int>(std::bit_width(places)) - 1, 31 + static_cast<int>(whole.shift));
    const Factor by{static_cast<std::int32_t>((std::int64_t{whole.mantissa} << shift) / window.places()), whole.shift - shift};
    return {window, by, {read.zero_point(), made.zero_point()}};
}

// ---- bilinear resizing

/// What of two old places makes a new one.
template <typename Weight>
struct Blend {
    int below = 0, above = 0;
    Weight of_below = 0, of_above = 0;
};

std::vector<Blend<float>> float_blends(int length, int made, bool align_corners) {
    std::vector<Blend<float>> blends;
    for (int i = 0; i < made; ++i) {
        const double step =
            align_corners ? (made > 1 ? static_cast<double>(length - 1) / (made - 1) : 0) : static_cast<double>(length) / made;
        const double at = align_corners ? i * step : std::max((i + 0.5) * step - 0.5, 0.0);
        const int below = std::min(static_cast<int>(at), length - 1);
        const auto share = static_cast<float>(at - below);
        blends.push_back({below, std::min(below + 1, length - 1), 1 - share, share});
    }
    return blends;
}

constexpr int resize_bits = 10;

std::vector<Blend<std::int32_t>> byte_blends(int length, int made, bool align_corners) {
    constexpr std::int64_t one = 1 << resize_bits;
    const std::int64_t plain_step = (length * one + made / 2) / made;
    const std::int64_t step = align_corners && made > 1 ? ((length - 1) * one + (made - 1) / 2) / (made - 1) : plain_step;
    std::vector<Blend<std::int32_t>> blends;
    for (int i = 0; i < made; ++i) {
        const std::int64_t at = i * step + (align_corners ? 0 : step / 2 - one / 2);
        const std::int64_t below = std::clamp<std::int64_t>(at / one, 0, length - 1);                       // toward zero
        const std::int64_t above = std::clamp<std::int64_t>((at + one - 1) >> resize_bits, 0, length - 1);  // rounded up
        const auto share = static_cast<std::int32_t>(at - one * below);
        blends.push_back({static_cast<int>(below), static_cast<int>(above), static_cast<std::int32_t>(one) - share, share});
    }
    return blends;
}

std::int8_t narrowed(std::int64_t total) {
    constexpr std::int64_t half = std::int64_t{1} << (2 * resize_bits - 1);
    const std::int64_t size = (std::abs(total) + half) >> (2 * resize_bits);
    return to_byte(total < 0 ? -size : size);
}
float narrowed(float total) { return total; }

template <typename Number, typename Weight, typename Sum>
class Resize final : public Step {
public:
    Resize(const Value& read, const Value& made, std::vector<Blend<Weight>> down, std::vector<Blend<Weight>> across)
        : height_(read.height()),
          channels_(static_cast<std::size_t>(made.channels())),
          down_(std::move(down)),
          across_(std::move(across)) {}

    Span needed(std::size_t, Span rows) const override {
        if (rows.size() == 0) return {0, 0};
        return {down_[static_cast<std::size_t>(rows.from)].below,
                std::min(down_[static_cast<std::size_t>(rows.to - 1)].above + 1, height_)};
    }

    void compute(const Job& job) const override {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            const auto& tall = down_[static_cast<std::size_t>(y)];
            const Number* below = job.inputs[0].numbers<Number>(tall.below);
            const Number* above = job.inputs[0].numbers<Number>(tall.above);
            Number* out = job.outputs[0].numbers<Number>(y);
            for (const auto& wide : across_) {
                const std::size_t left = static_cast<std::size_t>(wide.below) * channels_,
                                  right = static_cast<std::size_t>(wide.above) * channels_;
                for (std::size_t c = 0; c < channels_; ++c) {
                    const Sum first = Sum{wide.of_below} * below[left + c] + Sum{wide.of_above} * below[right + c];
                    const Sum second = Sum{wide.of_below} * above[left + c] + Sum{wide.of_above} * above[right + c];
                    *out++ = narrowed(tall.of_below * first + tall.of_above * second);
                }
            }
        }
    }

private:
    int height_;
    std::size_t channels_;
    std::vector<Blend<Weight>> down_, across_;
};

// ---- joining

/// Maps joined along their channels, or tables one below the other.
class Concat final : public Step {
public:
    Concat(const Graph& graph, const Operator& operation) {
        const Value& made = graph.output(operation);
        is_map_ = made.is_map();
        width_ = made.width();
        for (std::size_t i = 0; i < operation.inputs.size(); ++i) {
            const Value& read = graph.input(operation, static_cast<int>(i));
            heights_.push_back(read.height());
            place_bytes_.push_back(read.row_bytes() / static_cast<std::size_t>(read.width()));
        }
    }

    Span needed(std::size_t input, Span rows) const override { return is_map_ ? rows : Span{0, heights_[input]}; }

    void compute(const Job& job) const override {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            std::byte* out = job.outputs[0].at(y);
            if (!is_map_) {
                int input = 0, row = y;
                while (row >= heights_[static_cast<std::size_t>(input)]) row -= heights_[static_cast<std::size_t>(input++)];
                std::memcpy(out, job.inputs[input].at(row), place_bytes_[0]);
                continue;
            }
            for (int x = 0; x < width_; ++x) {
                for (std::size_t i = 0; i < place_bytes_.size(); ++i) {
                    std::memcpy(out, job.inputs[i].at(y) + static_cast<std::size_t>(x) * place_bytes_[i], place_bytes_[i]);
                    out += place_bytes_[i];
                }
            }
        }
    }

private:
    bool is_map_ = true;
    int width_ = 1;
    std::vector<int> heights_;
    std::vector<std::size_t> place_bytes_;
};

/// Another shape for what lies in the same memory: there is nothing to do.
class Rename final : public Step {
public:
    explicit Rename(const Value& read) : height_(read.height()) {}
    Span needed(std::size_t, Span) const override { return {0, height_}; }
    void compute(const Job&) const override {}

private:
    int height_;
};

// ---- the class of each pixel

template <typename Number>
class ArgMax final : public Step {
public:
    explicit ArgMax(const Value& read) : width_(read.width()), channels_(static_cast<std::size_t>(read.channels())) {}
    Span needed(std::size_t, Span rows) const override { return rows; }

    void compute(const Job& job) const override {
        for (int y = job.rows.from; y < job.rows.to; ++y) {
            const Number* in = job.inputs[0].numbers<Number>(y);
            auto* out = job.outputs[0].numbers<std::uint8_t>(y);
            for (int x = 0; x < width_; ++x, in += channels_)
                out[x] = static_cast<std::uint8_t>(std::max_element(in, in + channels_) - in);
        }
    }

private:
    int width_;
    std::size_t channels_;
};

}  // namespace

Made make_pool(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    const Value& read = graph.input(operation);
    PoolWindow window;
    window.height = read.height(), window.channels = read.channels(), window.out_width = graph.output(operation).width();
    window.kernel_height = operation.kernel[0], window.kernel_width = operation.kernel[1];
    window.stride_down = operation.stride[0], window.stride_across = operation.stride[1];
    if (!read.quantized()) return std::make_unique<PoolStep<FloatPool>>(FloatPool{window}, kernels);
    if (operation.kernel == Pair{read.height(), read.width()})
        return std::make_unique<PoolStep<ByteWholePool>>(whole_pool(graph, operation, window), kernels);
    return std::make_unique<PoolStep<BytePool>>(BytePool{window}, kernels);
}

Made make_resize(const Graph& graph, const Operator& operation, const Kernels&) {
    const Value &read = graph.input(operation), &made = graph.output(operation);
    const bool corners = operation.align_corners;
    if (read.quantized()) {
        return std::make_unique<Resize<std::int8_t, std::int32_t, std::int64_t>>(
            read, made, byte_blends(read.height(), made.height(), corners), byte_blends(read.width(), made.width(), corners));
    }
    return std::make_unique<Resize<float, float, float>>(read, made, float_blends(read.height(), made.height(), corners),
                                                         float_blends(read.width(), made.width(), corners));
}

Made make_concat(const Graph& graph, const Operator& operation, const Kernels&) {
    return std::make_unique<Concat>(graph, operation);
}

Made make_rename(const Graph& graph, const Operator& operation, const Kernels&) {
    return std::make_unique<Rename>(graph.input(operation));
}

Made make_argmax(const Graph& graph, const Operator& operation, const Kernels&) {
    const Value& read = graph.input(operation);
    if (read.quantized()) return std::make_unique<ArgMax<std::int8_t>>(read);
    return std::make_unique<ArgMax<float>>(read);
}

}  // namespace mobilenets
