// System calls without a C library, for the programs of the benchmark: each is one instruction and nothing else. Built
// with -nostdlib -static; `start` is their main.
#include <asm/unistd.h>

static inline __attribute__((always_inline)) long sys6(long n, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	__asm__ volatile("syscall" : "+a"(n) : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return n;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
#else
#error "x86_64 and aarch64 only"
#endif
}
#define ARGS(n, a, b, c, d, e, f, ...) sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define sys(...) ARGS(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

static inline _Noreturn void leave(int code) {
	for (;;)
		sys(__NR_exit_group, code);
}

static inline long length(const char *text) {
	long n = 0;
	while (text[n])
		n++;
	return n;
}

__attribute__((used)) static _Noreturn void start(long *stack);
#if defined(__x86_64__)
__asm__(".globl _start\n_start: xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call start\n");
#else
__asm__(".globl _start\n_start: mov x0, sp\n b start\n");
#endif

// GCC makes calls of these out of loops and assignments.
void *memset(void *to, int byte, unsigned long n) {
	for (char *p = to; n--; p++)
		*(volatile char *)p = (char)byte;
	return to;
}

void *memcpy(void *to, const void *from, unsigned long n) {
	for (unsigned long i = 0; i < n; i++)
		((volatile char *)to)[i] = ((const char *)from)[i];
	return to;
}
