#include "mapped_file.hpp"

#include <fstream>

#include "errors.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#define MOBILENETS_HAS_MMAP 1
#endif

namespace mobilenets {

#ifdef MOBILENETS_HAS_MMAP

MappedFile::MappedFile(const std::string& path) {
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) throw GraphError(std::string("it cannot be read: ") + std::strerror(errno));
    struct stat facts{};
    if (fstat(file, &facts) != 0 || !S_ISREG(facts.st_mode) || facts.st_size <= 0) {
        close(file);
        throw GraphError("it cannot be read: it is empty or not a file");
    }
    size_ = static_cast<std::size_t>(facts.st_size);
    void* mapped = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (mapped == MAP_FAILED) throw GraphError(std::string("it cannot be read: ") + std::strerror(errno));
    start_ = static_cast<const std::byte*>(mapped);
}

MappedFile::~MappedFile() { munmap(const_cast<std::byte*>(start_), size_); }

#else

MappedFile::MappedFile(const std::string& path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file || file.tellg() <= 0) throw GraphError("it cannot be read");
    copy_.resize(static_cast<std::size_t>(file.tellg()));
    file.seekg(0).read(reinterpret_cast<char*>(copy_.data()), static_cast<std::streamsize>(copy_.size()));
    if (!file) throw GraphError("it cannot be read");
    start_ = copy_.data();
    size_ = copy_.size();
}

MappedFile::~MappedFile() = default;

#endif

}  // namespace mobilenets
