// The container's program in the benchmark of the boot: its first instruction is one that no processor has. The kernel logs
// the signal (print-fatal-signals=1) with the time, on the clock that its own "Run /init" has, and nobody else's code runs between.
#if defined(__x86_64__)
__asm__(".globl _start\n_start: ud2\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start: udf #0\n");
#else
#error "x86_64 and aarch64 only"
#endif
