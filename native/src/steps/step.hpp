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
    /// The rows of an input that these rows of the output depend on; all rows unless a step overrides it.
    virtual Span needed(std::size_t input, Span rows) const = 0;
    /// The number of panels of channels that can be computed independently; 1 if the channels cannot be divided.
    virtual int panels() const { return 1; }
    virtual std::size_t scratch_bytes() const { return 0; }
};

/// A step that computes every row from the same row of each input, with one of the records in `operators/`.
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

/// Computes nothing, because no operator reads the output.
class Unread final : public Step {
public:
    Span needed(std::size_t, Span rows) const override { return rows; }
    void compute(const Job&) const override {}
};

/// Creates the step of an operator. Throws GraphError if its sums do not fit 32 bits.
std::unique_ptr<Step> make_step(const Graph& graph, const Operator& operation, const Kernels& kernels);

// ---- one factory function per kind, in the files of this folder
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

/// The bounds to which a fused activation clips integers.
struct ByteBounds {
    int low = -128, high = 127;
};
ByteBounds byte_bounds(Curve curve, const Quantization& made);

/// A float factor, the number added to the product, and the extra amount in the sum besides its bias.
struct Real {
    float factor = 0, half = 0;
    std::int32_t more = 0;
    bool holds = false;
};

/// Finds a float factor such that a sum times the factor, plus or minus `half`, truncated, is the integer that the
/// specification requires. If negative results do not matter, it is instead the sum plus `more`, times the factor, plus `half`,
/// rounded down, which includes the zero point. The result is valid if this is true of all results that fit 8 bits, for sums
/// from `least` to `greatest`; negative results matter only if `is_signed`.
Real real_of(Factor by, int zero_point, bool is_signed, std::int64_t least, std::int64_t greatest);

/// The same for a sum that starts with the bits of a float: see `float_sums.cpp`. Times the factor, plus `half`, rounded to the
/// nearest integer, its lowest 16 bits are the result including the zero point.
Real float_sum_of(Factor by, int zero_point, bool is_signed, std::int64_t least, std::int64_t greatest);

/// The smallest sums whose results by the specification are 1, 2, 3 and so on, for a factor below 2**16.
class LeastSums {
public:
    explicit LeastSums(Factor by);

    std::int64_t sum() const { return sum_; }
    bool is_tie() const { return gap_ == 0; }  // then the result of the negative sum is not the negative result
    void next() {
        gap_ -= rest_, sum_ += step_;
        if (gap_ < 0) gap_ += mantissa_, ++sum_;
    }

private:
    std::int64_t mantissa_, step_, rest_, sum_, gap_;
};

/// Factors, bias and bounds of an int8 operator with weights, for each output channel, ordered by `place`.
struct ByteScales {
    using PlaceOf = int (*)(int channel, int channels, const Kernels& kernels);

    /// `offset` is added to every input integer.
    ByteScales(const Graph& graph, const Operator& operation, const Kernels& kernels, PlaceOf place, int offset);

    Buffer bias, mantissas, lefts, rights, halves, factors, half, back, ways;
    ByteWeights weights;  // everything except the panels

private:
    struct Channel {
        std::size_t number, at;  // its index in the graph, and its position here
        Factor by;
        std::int64_t least, greatest;  // sums
    };
    /// A method to rescale in floats, and how many neighboring channels must share it.
    struct Way {
        Rescale how;
        std::size_t neighbors;
        Real (*find)(Factor, int zero_point, bool is_signed, std::int64_t least, std::int64_t greatest);
    };

    /// Selects the first valid method for each group of neighbors.
    void find_reals(std::span<const Channel> channels, std::span<const Way> left, int zero_point, bool is_signed);
};

}  // namespace mobilenets
