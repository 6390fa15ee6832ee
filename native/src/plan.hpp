// Where each value lies in one block of memory, and in which order its rows are computed.
//
// Operators run in groups. A group of one operator computes whole values. A larger group, a block of the network, computes the
// rows of what it makes band by band; of the maps inside, only the rows that the next band needs are kept, in rings. Sizes and
// places follow the rules of `mobilenets.deploy.arena`, so that the block of memory is as large as `mobilenets info` says.
#pragma once

#include <cstddef>
#include <vector>

#include "graph.hpp"
#include "kernels/kernels.hpp"

namespace mobilenets {

/// Operators that run as one, by their indices.
struct Group {
    Span operators;
    int band = 1;  // rows of what the group makes that are computed at once
};

/// Every operator by itself.
std::vector<Group> layer_by_layer(const Graph& graph);
/// Each block of the network as one; the first convolution runs with the block behind it (V2, section 5.1).
std::vector<Group> block_by_block(const Graph& graph);

/// When a value is needed, in groups: from the one that makes it to the last that reads it; the image is there before the
/// first.
struct Life {
    int first = 0, last = 0;
};

/// A value's place.
struct Place {
    std::size_t offset = 0;
    int held = 0;     // rows that are kept: all, or those of a ring
    int at_once = 1;  // rows that are computed at once; those of a band of several rows grow by the strides behind them
    int copies = 1;   // rings: one for each thread; 0 of what is never made
    bool is_ring = false;
    std::size_t copy_bytes = 0;  // from one copy to the next
};

struct Plan {
    bool image_stays = false;  // whether the image is read where its caller has it, and takes no room
    std::vector<Group> groups;
    std::vector<Place> places;  // of each value; of a reshape, that of its source
    std::size_t bytes = 0;
};

/// Whether the image can be read where its caller has it, as planes: nothing but a quantization reads it.
bool can_stay(const Graph& graph);

/// The memory of a graph that runs in these groups, divided among a number of threads. If blocks run as one, an image that can
/// stay where it is does; operator by operator, it is counted as every other value.
Plan planned(const Graph& graph, std::vector<Group> groups, int threads);

}  // namespace mobilenets
