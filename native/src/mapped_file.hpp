// A file's bytes, mapped into memory: pages are read when they are needed, and shared between processes.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace mobilenets {

/// Bytes, and what keeps them where they are.
struct FileBytes {
    std::span<const std::byte> bytes;
    std::shared_ptr<const void> keeper;
};

/// Throws GraphError if the file cannot be read.
FileBytes mapped_file(const std::string& path);

}  // namespace mobilenets
