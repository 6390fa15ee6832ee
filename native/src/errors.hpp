// The error type of the engine: one line that says what is wrong with a graph, its file, or a request.
#pragma once

#include <stdexcept>
#include <string>

namespace mobilenets {

struct GraphError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

}  // namespace mobilenets
