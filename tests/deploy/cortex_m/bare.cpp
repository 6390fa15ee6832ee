// A program that does nothing but run the network: its size is what the network takes of a microcontroller.
#include "network.hpp"

extern "C" {
extern char bss_start, bss_end, stack_top, data_start, data_end, data_load;

[[noreturn]] void reset() {
    for (char *to = &data_start, *from = &data_load; to < &data_end;) *to++ = *from++;
    for (char* p = &bss_start; p < &bss_end; ++p) *p = 0;
    mobilenet::init();
    const auto* pixels = reinterpret_cast<const std::uint8_t*>(0x21000000);  // where a camera would write
    auto* results = reinterpret_cast<const void* volatile*>(0x21100000);
    while (true) mobilenet::each(mobilenet::run(pixels), [&](const char*, const auto& output) { *results = &output; });
}

[[gnu::section(".vectors"), gnu::used]] const void* const vectors[2] = {&stack_top, reinterpret_cast<const void*>(reset)};
}
