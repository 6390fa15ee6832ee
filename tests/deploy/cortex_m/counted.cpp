// Runs the network once in QEMU, and says how much stack that takes and, if QEMU counts them (-icount shift=0: a nanosecond each),
// how many instructions.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "network.hpp"

namespace {

constexpr int painted = 64 * 1024;  // bytes below the stack that are given a pattern first
constexpr unsigned reload = 0xFFFFFF, nanoseconds = 40;  // of the timer, which counts down
std::uint8_t pixels[mobilenet::height * mobilenet::width * mobilenet::channels];

volatile unsigned& timer(unsigned offset) { return *reinterpret_cast<volatile unsigned*>(0xE000E010 + offset); }

}  // namespace

extern "C" {
extern char bss_start, bss_end, stack_top, data_start, data_end, data_load;
void initialise_monitor_handles();
void _init() {}
void _fini() {}

[[noreturn]] void reset() {
#ifdef __ARM_FP
    *reinterpret_cast<volatile unsigned*>(0xE000ED88) |= 0xFu << 20;
    asm volatile("dsb\n isb");
#endif
    for (volatile char *to = &data_start, *from = &data_load; to < &data_end;) *to++ = *from++;
    for (volatile char* p = &bss_start; p < &bss_end; ++p) *p = 0;
    initialise_monitor_handles();
    mobilenet::init();
    char* top;
    asm volatile("mov %0, sp" : "=r"(top));
    for (volatile char* p = top - painted; p < top - 64; ++p) *p = 0x5A;
    timer(4) = reload;
    timer(8) = 0;
    timer(0) = 5;
    mobilenet::run(pixels);
    const unsigned ticks = reload - timer(8);
    const char* lowest = top - painted;
    while (*lowest == 0x5A) ++lowest;
    std::printf("stack %d bytes, %u thousand instructions\n", static_cast<int>(top - lowest), ticks * nanoseconds / 1000);
    std::exit(0);
}

[[gnu::section(".vectors"), gnu::used]] const void* const vectors[2] = {&stack_top, reinterpret_cast<const void*>(reset)};
}
