// An operator that is ready to run: its weights are packed, its factors computed.
#pragma once

#include <algorithm>
#include <memory>
#include <span>

#include "../buffer.hpp"
#include "../factors.hpp"
#include "../graph.hpp"
#include "../kernels/kernels.hpp"
#include "../operators/rows.hpp"

namespace mobilenets {

class Step {
public:
    virtual ~Step() = default;

    /// Computes the rows. Different rows or panels may be computed at the same time by several threads.
    virtual void compute(const Job& job) const = 0;
    /// Which rows of an input these rows of the output depend on; all of them unless a step says otherwise.
    virtual Span needed(std::size_t input, Span rows) const = 0;
    /// How many panels of channels can be computed apart; 1 if the channels cannot be divided.
    virtual int panels() const { return 1; }
    virtual std::size_t scratch_bytes() const { return 0; }
};

/// A step whose every row is made of the same row of each input, by one of the records of `operators/`.
template <class Of>
class RowByRow final : public Step {
public:
    RowByRow(const Of& of, const Kernels& kernels) : of_(of), kernels_(kernels) {}

    Span needed(std::size_t, Span rows) const override { return rows; }
    void compute(const Job& job) const override { of_.compute(kernels_, job); }
    std::size_t scratch_bytes() const override {
        if constexpr (requires { of_.scratch_bytes(); })
            return of_.scratch_bytes();
        else
            return 0;
    }

private:
    Of of_;
    const Kernels& kernels_;
};

/// Makes nothing, because nobody reads it.
class Unread final : public Step {
public:
    Span needed(std::size_t, Span rows) const override { return rows; }
    void compute(const Job&) const override {}
};

/// The step of an operator. Throws GraphError if its numbers do not fit into 32 bits.
std::unique_ptr<Step> make_step(const Graph& graph, const Operator& operation, const Kernels& kernels);

// ---- one maker for each kind, in the files of this folder
using Made = std::unique_ptr<Step>;
Made make_float_conv(const Graph&, const Operator&, const Kernels&);
Made make_byte_conv(const Graph&, const Operator&, const Kernels&);
Made make_half_conv(const Graph&, const Operator&, const Kernels&);
Made make_half_add(const Graph&, const Operator&, const Kernels&);
Made make_float_depthwise(const Graph&, const Operator&, const Kernels&);
Made make_byte_depthwise(const Graph&, const Operator&, const Kernels&);
Made make_add(const Graph&, const Operator&, const Kernels&);
Made make_multiply(const Graph&, const Operator&, const Kernels&);
Made make_activation(const Graph&, const Operator&, const Kernels&);
Made make_quantize(const Graph&, const Operator&, const Kernels&);
Made make_dequantize(const Graph&, const Operator&, const Kernels&);
Made make_pool(const Graph&, const Operator&, const Kernels&);
Made make_resize(const Graph&, const Operator&, const Kernels&);
Made make_concat(const Graph&, const Operator&, const Kernels&);
Made make_rename(const Graph&, const Operator&, const Kernels&);
Made make_matmul(const Graph&, const Operator&, const Kernels&);
Made make_softmax(const Graph&, const Operator&, const Kernels&);
Made make_argmax(const Graph&, const Operator&, const Kernels&);
Made make_boxes(const Graph&, const Operator&, const Kernels&);
Made make_nms(const Graph&, const Operator&, const Kernels&);

// ---- shared by several kinds

/// The bounds that a fused activation keeps integers within.
struct ByteBounds {
    int low = -128, high = 127;
};
ByteBounds byte_bounds(Curve curve, const Quantization& made);

/// A factor in floats, what is added to a product with it, and what the sum has more before it, beside its bias.
struct Real {
    float factor = 0, half = 0;
    std::int32_t more = 0;
    bool holds = false;
};

/// A sum times the factor, plus or minus `half`, cut off, is the integer that the specification asks for. Where negative
/// integers do not count, so is the sum with `more`, times the factor, plus `half`, rounded down; it has the zero point added.
/// It holds if that is so for all results that fit into 8 bits of sums from `least` to `greatest`; negative results count only
/// if `is_signed`.
Real real_of(Factor by, int zero_point, bool is_signed, std::int64_t least, std::int64_t greatest);

/// The same for a sum that begins with the bits of a float: see `float_sums.cpp`. Times the factor, plus `half`, rounded to the
/// nearest integer, it has the zero point, in the lowest 16 bits.
Real float_sum_of(Factor by, int zero_point, bool is_signed, std::int64_t least, std::int64_t greatest);

/// The least sums that the specification brings to 1, 2, 3 and so on, by a factor below 2**16.
class LeastSums {
public:
    explicit LeastSums(Factor by);

    std::int64_t sum() const { return sum_; }
    bool is_tie() const { return gap_ == 0; }  // then the negative of the sum is not brought to the negative number
    void next() {
        gap_ -= rest_, sum_ += step_;
        if (gap_ < 0) gap_ += mantissa_, ++sum_;
    }

private:
    std::int64_t mantissa_, step_, rest_, sum_, gap_;
};

/// Factors, bias and bounds of an integer operator with weights: of each output channel, where `place` puts it.
struct ByteScales {
    using PlaceOf = int (*)(int channel, int channels, const Kernels& kernels);

    /// `offset` is added to every integer that is read.
    ByteScales(const Graph& graph, const Operator& operation, const Kernels& kernels, PlaceOf place, int offset);

    Buffer bias, mantissas, lefts, rights, halves, factors, half, back, ways;
    ByteWeights weights;  // all but the panels

private:
    struct Channel {
        std::size_t number, at;  // in the graph, and its place here
        Factor by;
        std::int64_t least, greatest;  // sums
    };
    /// A way to rescale in floats, and how many neighbors must all go it.
    struct Way {
        Rescale how;
        std::size_t neighbors;
        Real (*find)(Factor, int zero_point, bool is_signed, std::int64_t least, std::int64_t greatest);
    };

    /// The first of the ways that holds, for each group of neighbors.
    void find_reals(std::span<const Channel> channels, std::span<const Way> left, int zero_point, bool is_signed);
};

}  // namespace mobilenets
