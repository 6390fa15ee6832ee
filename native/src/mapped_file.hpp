// A file mapped into memory: pages are read when needed, and shared between processes.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace mobilenets {

/// Bytes, and the owner that keeps them alive.
struct FileBytes {
    std::span<const std::byte> bytes;
    std::shared_ptr<const void> keeper;
};

/// Throws GraphError if the file cannot be read.
FileBytes mapped_file(const std::string& path);

}  // namespace mobilenets
