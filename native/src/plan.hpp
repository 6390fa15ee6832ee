// The memory plan: the offset of each value in one block of memory, and the groups of operators that run together.
//
// A group with one operator computes whole values. A larger group, a block of the network, computes its output band by band; of
// its inner feature maps, only the rows that the next band needs are kept, in ring buffers. Sizes and offsets follow the rules
// of `mobilenets.deploy.arena`, so that the memory is as large as `mobilenets info` reports.
#pragma once

#include <cstddef>
#include <vector>

#include "graph.hpp"
#include "kernels/kernels.hpp"

namespace mobilenets {

/// Operators that run together, by index.
struct Group {
    Span operators;
    int band = 1;  // output rows of the group that are computed at once
};

/// One group per operator.
std::vector<Group> layer_by_layer(const Graph& graph);
/// One group per block of the network; the first convolution runs with the block after it (V2, section 5.1).
std::vector<Group> block_by_block(const Graph& graph);

/// The lifetime of a value, counted in groups: from the one that produces it to the last that reads it; the image exists before
/// the first.
struct Life {
    int first = 0, last = 0;
};

/// The place of a value in memory.
struct Place {
    std::size_t offset = 0;
    int held = 0;     // rows that are kept: all, or those of a ring buffer
    int at_once = 1;  // rows computed at once: the rows of a band times the strides after this value
    int copies = 1;   // ring buffers: one per thread; 0 if the value is never computed
    bool is_ring = false;
    std::size_t copy_bytes = 0;  // distance between copies
};

struct Plan {
    bool image_stays = false;  // whether the image is read from the caller's memory
    std::vector<Group> groups;
    std::vector<Place> places;  // of each value; of a reshape, that of its source
    std::size_t bytes = 0;
};

/// Whether the image can be read as planes from the caller's memory: only quantization reads it.
bool can_stay(const Graph& graph);

/// The memory plan of a graph with these groups and number of threads. If blocks run as groups, the image stays in the caller's
/// memory if it can; operator by operator, it is counted like every other value.
Plan planned(const Graph& graph, std::vector<Group> groups, int threads);

}  // namespace mobilenets
