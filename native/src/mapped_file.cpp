#include "mapped_file.hpp"

#include <fstream>
#include <vector>

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

FileBytes mapped_file(const std::string& path) {
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) throw GraphError(std::string("it cannot be read: ") + std::strerror(errno));
    struct stat facts{};
    if (fstat(file, &facts) != 0 || !S_ISREG(facts.st_mode) || facts.st_size <= 0) {
        close(file);
        throw GraphError("it cannot be read: it is empty or not a file");
    }
    const auto size = static_cast<std::size_t>(facts.st_size);
    void* mapped = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (mapped == MAP_FAILED) throw GraphError(std::string("it cannot be read: ") + std::strerror(errno));
    std::shared_ptr<const void> keeper(mapped, [size](const void* start) { munmap(const_cast<void*>(start), size); });
    return {{static_cast<const std::byte*>(mapped), size}, std::move(keeper)};
}

#else

FileBytes mapped_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file || file.tellg() <= 0) throw GraphError("it cannot be read");
    const auto copy = std::make_shared<std::vector<std::byte>>(static_cast<std::size_t>(file.tellg()));
    file.seekg(0).read(reinterpret_cast<char*>(copy->data()), static_cast<std::streamsize>(copy->size()));
    if (!file) throw GraphError("it cannot be read");
    return {*copy, copy};
}

#endif

}  // namespace mobilenets
