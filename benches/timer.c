// Runs a command and writes what it cost, "WALL_US CPU_US PEAK_KB STATUS", to a file: timer FILE /PROGRAM ARG...
//
// Not to its standard output: a container that the command leaves behind would hold that open.
// A process of a few pages that starts the command with vfork: a fork of Python costs more than mote does, and the peak
// memory that the kernel reports for a child (ru_maxrss) begins with that of the process which it was cloned from.
#include "sys.h"
#include <sys/resource.h>
#include <time.h>

static char text[128];

static char *number(char *at, long value, char end) {
	char digits[24];
	int n = 0;
	do
		digits[n++] = (char)('0' + value % 10);
	while (value /= 10);
	while (n)
		*at++ = digits[--n];
	*at++ = end;
	return at;
}

static _Noreturn void start(long *stack) {
	char **argv = (char **)(stack + 1), **envp = argv + stack[0] + 1;
	struct timespec begin, end;
	struct rusage used;
	int status;
	if (stack[0] < 3)
		leave(2);
	sys(__NR_clock_gettime, CLOCK_MONOTONIC, &begin);
	long pid = sys(__NR_clone, 0x4100 /* CLONE_VM | CLONE_VFORK */ | 17 /* SIGCHLD */);
	if (pid == 0) {
		sys(__NR_execve, argv[2], argv + 2, envp);
		leave(126);
	}
	if (pid < 0 || sys(__NR_wait4, pid, &status, 0, &used) != pid)
		leave(1);
	sys(__NR_clock_gettime, CLOCK_MONOTONIC, &end);
	long cpu = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 + used.ru_utime.tv_usec + used.ru_stime.tv_usec;
	char *at = number(text, (end.tv_sec - begin.tv_sec) * 1000000 + (end.tv_nsec - begin.tv_nsec) / 1000, ' ');
	at = number(at, cpu, ' ');
	at = number(at, used.ru_maxrss, ' ');
	at = number(at, status & 127 ? 128 + (status & 127) : status >> 8, '\n');
	long file = sys(__NR_openat, -100 /* AT_FDCWD */, argv[1], 01 | 0100 | 01000 /* O_WRONLY | O_CREAT | O_TRUNC */, 0600);
	sys(__NR_write, file, text, at - text);
	leave(0);
}
