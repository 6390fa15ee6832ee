// Operators on feature maps: pooling, resizing, concatenation, and the class of each pixel.
#include "../operators/maps.hpp"

#include <bit>
#include <vector>

#include "../errors.hpp"
#include "../operators/pool.hpp"
#include "step.hpp"

namespace mobilenets {
namespace {

// ---- average pooling

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

/// The interpolation along one axis, with its memory.
template <typename Weight>
struct HeldBlends {
    std::vector<std::int32_t> places;
    std::vector<Weight> weights;

    void add(std::int64_t before, std::int64_t behind, Weight of_before, Weight of_behind) {
        places.insert(places.end(), {static_cast<std::int32_t>(before), static_cast<std::int32_t>(behind)});
        weights.insert(weights.end(), {of_before, of_behind});
    }
    Blends<Weight> view() const { return {places.data(), weights.data()}; }
};

HeldBlends<float> float_blends(int length, int made, bool align_corners) {
    HeldBlends<float> blends;
    for (int i = 0; i < made; ++i) {
        const double step =
            align_corners ? (made > 1 ? static_cast<double>(length - 1) / (made - 1) : 0) : static_cast<double>(length) / made;
        const double at = align_corners ? i * step : std::max((i + 0.5) * step - 0.5, 0.0);
        const int before = std::min(static_cast<int>(at), length - 1);
        const auto share = static_cast<float>(at - before);
        blends.add(before, std::min(before + 1, length - 1), 1 - share, share);
    }
    return blends;
}

HeldBlends<std::int32_t> byte_blends(int length, int made, bool align_corners) {
    constexpr std::int64_t one = 1 << resize_bits;
    const std::int64_t plain_step = (length * one + made / 2) / made;
    const std::int64_t step = align_corners && made > 1 ? ((length - 1) * one + (made - 1) / 2) / (made - 1) : plain_step;
    HeldBlends<std::int32_t> blends;
    for (int i = 0; i < made; ++i) {
        const std::int64_t at = i * step + (align_corners ? 0 : step / 2 - one / 2);
        const std::int64_t before = std::clamp<std::int64_t>(at / one, 0, length - 1);                       // toward zero
        const std::int64_t behind = std::clamp<std::int64_t>((at + one - 1) >> resize_bits, 0, length - 1);  // rounded up
        const auto share = static_cast<std::int32_t>(at - one * before);
        blends.add(before, behind, static_cast<std::int32_t>(one) - share, share);
    }
    return blends;
}

template <typename Number, typename Weight>
class ResizeStep final : public Step {
public:
    ResizeStep(const Value& made, HeldBlends<Weight> down, HeldBlends<Weight> across, const Kernels& kernels)
        : down_(std::move(down)),
          across_(std::move(across)),
          of_{down_.view(), across_.view(), made.width(), made.channels()},
          kernels_(kernels) {}

    Span needed(std::size_t, Span rows) const override { return of_.needed(rows); }
    void compute(const Job& job) const override { of_.compute(kernels_, job); }

private:
    HeldBlends<Weight> down_, across_;
    Resize<Number, Weight> of_;
    const Kernels& kernels_;
};

/// The class of each pixel of a resized map.
class LargestOfLargeStep final : public Step {
public:
    LargestOfLargeStep(const Value& read, Pair size, bool align_corners, const Kernels& kernels)
        : down_(float_blends(read.height(), size[0], align_corners)),
          across_(float_blends(read.width(), size[1], align_corners)),
          of_{down_.view(), across_.view(), read.width(), size[1], read.channels()},
          kernels_(kernels) {}

    Span needed(std::size_t, Span rows) const override { return of_.down.needed(rows); }
    void compute(const Job& job) const override { of_.compute(kernels_, job); }
    std::size_t scratch_bytes() const override { return of_.scratch_bytes(); }

private:
    HeldBlends<float> down_, across_;
    LargestOfLarge of_;
    const Kernels& kernels_;
};

// ---- concatenation

/// Feature maps concatenated along their channels, or tables along their rows.
class Concat final : public Step {
public:
    Concat(const Graph& graph, const Operator& operation, const Kernels& kernels) : kernels_(kernels) {
        const Value& made = graph.output(operation);
        is_map_ = made.is_map();
        for (std::size_t i = 0; i < operation.inputs.size(); ++i) {
            const Value& read = graph.input(operation, static_cast<int>(i));
            heights_.push_back(read.height());
            place_bytes_.push_back(static_cast<std::int32_t>(read.row_bytes() / index(read.width())));
        }
        maps_ = {made.width(), static_cast<int>(operation.inputs.size()), place_bytes_.data()};
        tables_ = {heights_.data(), made.row_bytes()};
    }

    Span needed(std::size_t input, Span rows) const override { return is_map_ ? rows : Span{0, heights_[input]}; }
    void compute(const Job& job) const override { is_map_ ? maps_.compute(kernels_, job) : tables_.compute(kernels_, job); }

private:
    const Kernels& kernels_;
    bool is_map_ = true;
    std::vector<std::int32_t> heights_, place_bytes_;
    ConcatMaps maps_;
    ConcatTables tables_;
};

/// A reshape of a value in the same memory: there is nothing to do.
class Rename final : public Step {
public:
    explicit Rename(const Value& read) : height_(read.height()) {}
    Span needed(std::size_t, Span) const override { return {0, height_}; }
    void compute(const Job&) const override {}

private:
    int height_;
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

Made make_resize(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    const Value &read = graph.input(operation), &made = graph.output(operation);
    const bool corners = operation.align_corners;
    if (readers(graph, operation.outputs[0]) == 0) return std::make_unique<Unread>();
    if (read.quantized()) {
        return std::make_unique<ResizeStep<std::int8_t, std::int32_t>>(made, byte_blends(read.height(), made.height(), corners),
                                                                       byte_blends(read.width(), made.width(), corners),
                                                                       kernels);
    }
    return std::make_unique<ResizeStep<float, float>>(made, float_blends(read.height(), made.height(), corners),
                                                      float_blends(read.width(), made.width(), corners), kernels);
}

Made make_concat(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    return std::make_unique<Concat>(graph, operation, kernels);
}

Made make_rename(const Graph& graph, const Operator& operation, const Kernels&) {
    return std::make_unique<Rename>(graph.input(operation));
}

Made make_argmax(const Graph& graph, const Operator& operation, const Kernels& kernels) {
    const Value& read = graph.input(operation);
    const Pair size{static_cast<int>(graph.output(operation).shape[0]), static_cast<int>(graph.output(operation).shape[1])};
    if (size != Pair{read.height(), read.width()})
        return std::make_unique<LargestOfLargeStep>(read, size, operation.align_corners, kernels);
    const int width = read.width(), channels = read.channels();
    if (read.quantized()) return std::make_unique<RowByRow<ArgMax<std::int8_t>>>(ArgMax<std::int8_t>{width, channels}, kernels);
    return std::make_unique<RowByRow<ArgMax<float>>>(ArgMax<float>{width, channels}, kernels);
}

}  // namespace mobilenets
