// Rows of values in memory, and what an operator is asked for.
//
// Files of this folder are what operators do while a network runs, as records that are ready and functions that read them. The
// engine fills the records when it opens a file; exported C++ has them as constants. `kernels` is a table of functions or
// `Direct`. They need nothing but a freestanding compiler, and take no memory.
#pragma once

#include "../kernels/records.hpp"

namespace mobilenets {

/// A value in memory: all its rows, or a ring that holds the last few.
struct Rows {
    std::byte* start = nullptr;
    int held = 0;
    std::size_t row_bytes = 0;
    std::size_t plane_bytes = 0;  // from one channel to the next, if each is a plane of its own; 0 if they lie side by side

    std::byte* at(int row) const { return start + index(row % held) * row_bytes; }
    /// How many of the rows [row, to) lie one behind the other.
    int run(int row, int to) const { return smaller(to - row, held - row % held); }

    template <typename Number>
    Number* numbers(int row) const {
        return reinterpret_cast<Number*>(at(row));
    }
};

/// What an operator is asked for: some rows of its output, and of those some panels of channels.
struct Job {
    const Rows* inputs = nullptr;
    const Rows* outputs = nullptr;
    Span rows;
    Span panels;
    std::byte* scratch = nullptr;  // as much as the operator needs, for this thread alone
};

/// Rows that a window needs, which moves over a map of `height` rows.
constexpr Span window_rows(Span rows, int stride, int top, int reach, int height) {
    const auto clamped = [height](std::int64_t row) { return static_cast<int>(within<std::int64_t>(row, 0, height)); };
    const std::int64_t from = std::int64_t{rows.from} * stride - top;
    const std::int64_t to = (std::int64_t{rows.to} - 1) * stride - top + reach;
    return {clamped(from), larger(clamped(from), clamped(to))};
}

/// Calls `of(y, rows)` for stretches of rows that lie side by side in both values.
template <typename Of>
void each_run(const Job& job, const Of& of) {
    for (int y = job.rows.from; y < job.rows.to;) {
        const int rows = smaller(job.inputs[0].run(y, job.rows.to), job.outputs[0].run(y, job.rows.to));
        of(y, rows);
        y += rows;
    }
}

}  // namespace mobilenets
