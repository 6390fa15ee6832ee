#pragma once

namespace mobilenets {

/// Throws an error of JavaScript with this text.
[[noreturn]] void fail(const char* text);

}  // namespace mobilenets
