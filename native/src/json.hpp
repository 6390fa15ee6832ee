// JSON as a tree of values. The parser limits nesting, so that no file can exhaust the stack.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mobilenets {

class Json {
public:
    enum class Kind { null, boolean, integer, real, text, list, object };

    /// Parses a text; throws GraphError if it is not JSON.
    static Json parse(std::string_view text);

    Kind kind = Kind::null;
    bool boolean = false;
    std::int64_t integer = 0;
    double real = 0;  // also set for an integer
    std::string text;
    std::vector<Json> items;
    std::vector<std::pair<std::string, Json>> fields;

    /// The field of an object, or null if there is none with this name. Of two fields with the same name, the last counts.
    const Json* find(std::string_view name) const;
};

}  // namespace mobilenets
