// A file's bytes, mapped into memory: pages are read when they are needed, and shared between processes.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace mobilenets {

class MappedFile {
public:
    /// Throws GraphError if the file cannot be read.
    explicit MappedFile(const std::string& path);
    ~MappedFile();
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;

    std::span<const std::byte> bytes() const { return {start_, size_}; }

private:
    const std::byte* start_ = nullptr;
    std::size_t size_ = 0;
    std::vector<std::byte> copy_;  // where the system has no mmap
};

}  // namespace mobilenets
