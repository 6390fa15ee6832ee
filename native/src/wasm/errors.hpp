#pragma once

namespace mobilenets {

/// Throws a JavaScript error with this text.
[[noreturn]] void fail(const char* text);

}  // namespace mobilenets
