// Rows of values in memory, and jobs for operators.
//
// The files in this folder implement the operators at run time, as records of parameters and functions that read them. The
// engine fills the records when it opens a file; exported C++ contains them as constants. `kernels` is a table of functions or
// `Direct`. They only need a freestanding compiler, and allocate no memory.
#pragma once

#include "../kernels/records.hpp"

namespace mobilenets {

/// A value in memory: all its rows, or a ring buffer of the last few.
struct Rows {
    std::byte* start = nullptr;
    int held = 0;
    std::size_t row_bytes = 0;
    std::size_t plane_bytes = 0;  // distance between channels stored as planes; 0 if channels are interleaved

    std::byte* at(int row) const { return start + index(row % held) * row_bytes; }
    /// How many of the rows [row, to) are contiguous in memory.
    int run(int row, int to) const { return smaller(to - row, held - row % held); }

    template <typename Number>
    Number* numbers(int row) const {
        return reinterpret_cast<Number*>(at(row));
    }
};

/// A job for an operator: some rows of its output, and some panels of their channels.
struct Job {
    const Rows* inputs = nullptr;
    const Rows* outputs = nullptr;
    Span rows;
    Span panels;
    std::byte* scratch = nullptr;  // scratch memory of the operator, for this thread only
};

/// The input rows that a window needs in a map of `height` rows.
constexpr Span window_rows(Span rows, int stride, int top, int reach, int height) {
    const auto clamped = [height](std::int64_t row) { return static_cast<int>(within<std::int64_t>(row, 0, height)); };
    const std::int64_t from = std::int64_t{rows.from} * stride - top;
    const std::int64_t to = (std::int64_t{rows.to} - 1) * stride - top + reach;
    return {clamped(from), larger(clamped(from), clamped(to))};
}

/// Calls `of(y, rows)` for stretches of rows that are contiguous in both values.
template <typename Of>
void each_run(const Job& job, const Of& of) {
    for (int y = job.rows.from; y < job.rows.to;) {
        const int rows = smaller(job.inputs[0].run(y, job.rows.to), job.outputs[0].run(y, job.rows.to));
        of(y, rows);
        y += rows;
    }
}

}  // namespace mobilenets
