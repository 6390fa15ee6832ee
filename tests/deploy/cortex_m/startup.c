/* Starts a Cortex-M in QEMU: the stack, the FPU, zeroed memory, files of the host by semihosting, then `main`. */
#include <stdlib.h>

extern char data_start, data_end, data_load, bss_start, bss_end, stack_top;
int main(int count, char** arguments);
void initialise_monitor_handles(void);

void _init(void) {} /* what newlib calls at the beginning and at the end */
void _fini(void) {}

static char* arguments[] = {"check", "pixels", "images", "outputs", 0};

void reset(void) {
#ifdef __ARM_FP
    *(volatile unsigned*)0xE000ED88 |= 0xFu << 20;
    __asm volatile("dsb\n isb");
#endif
    for (volatile char *to = &data_start, *from = &data_load; to < &data_end;) *to++ = *from++;
    for (volatile char* p = &bss_start; p < &bss_end; ++p) *p = 0;
    initialise_monitor_handles();
    exit(main(4, arguments));
}

static void fault(void) { _Exit(3); }

__attribute__((section(".vectors"), used)) const void* const vectors[16] = {&stack_top, reset, fault, fault, fault, fault, fault};
