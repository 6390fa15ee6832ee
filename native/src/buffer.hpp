// Memory that starts at a cache line, followed by guard bytes that vectors may read.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <span>

#include "kernels/kernels.hpp"

namespace mobilenets {

class Buffer {
public:
    static constexpr std::size_t alignment = 64;

    Buffer() = default;
    /// Filled with zeros; throws std::bad_alloc.
    explicit Buffer(std::size_t bytes)
        : memory_(static_cast<std::byte*>(::operator new(bytes + guard, std::align_val_t{alignment}))), bytes_(bytes) {
        std::memset(memory_.get(), 0, bytes + guard);
    }

    std::byte* data() const { return memory_.get(); }
    std::size_t bytes() const { return bytes_; }

    template <typename T>
    T* as() const {
        return reinterpret_cast<T*>(memory_.get());
    }

private:
    struct Free {
        void operator()(std::byte* memory) const { ::operator delete(memory, std::align_val_t{alignment}); }
    };
    std::unique_ptr<std::byte, Free> memory_;
    std::size_t bytes_ = 0;
};

/// A buffer of `count` numbers.
template <typename T>
Buffer buffer_of(std::size_t count) {
    return Buffer(count * sizeof(T));
}

}  // namespace mobilenets
