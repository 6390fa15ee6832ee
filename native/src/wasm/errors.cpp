// Conversion of C++ exceptions to JavaScript errors with the same text. Nothing is cleaned up, and nothing in the instance may
// be called again; the page discards it as a whole.
#include "errors.hpp"

#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <typeinfo>

extern "C" {

__attribute__((import_module("page"), import_name("fail"))) void page_fail(const char* text, std::size_t length);

void* __cxa_allocate_exception(std::size_t bytes) {
    void* memory = std::malloc(bytes);
    if (!memory) mobilenets::fail("there is not enough memory");
    return memory;
}

/// Everything that the engine and its library throw starts with a std::exception.
[[noreturn]] void __cxa_throw(void* thrown, std::type_info*, void (*)(void*)) {
    mobilenets::fail(static_cast<const std::exception*>(thrown)->what());
}
}

namespace mobilenets {

void fail(const char* text) {
    page_fail(text, std::strlen(text));
    __builtin_trap();  // the page's function throws
}

}  // namespace mobilenets

_LIBCPP_BEGIN_NAMESPACE_STD

[[noreturn]] void __libcpp_verbose_abort(const char*, ...) noexcept { mobilenets::fail("the standard library gave up"); }

_LIBCPP_END_NAMESPACE_STD

// ---- memory

namespace {

void* found(void* memory) {
    if (!memory) mobilenets::fail("there is not enough memory");
    return memory;
}

}  // namespace

void* operator new(std::size_t bytes) { return found(std::malloc(bytes > 0 ? bytes : 1)); }

void* operator new(std::size_t bytes, std::align_val_t alignment) {
    const auto unit = static_cast<std::size_t>(alignment), padded = (bytes + unit - 1) / unit * unit;
    return found(padded < bytes ? nullptr : std::aligned_alloc(unit, padded > 0 ? padded : unit));
}

void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
