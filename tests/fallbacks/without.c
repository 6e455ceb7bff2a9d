/* without CALL[,CALL...] PROGRAM [ARG...]: runs a program for which these system calls are not there (ENOSYS), as on an
 * older kernel or in a sandbox. One name is more than a call: "setns-many" is EINVAL for setns of several namespaces
 * at once (before Linux 5.8).
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOUNT_SETATTR 442
#define OPENAT2 437
#define CLOSE_RANGE 436
#define CLONE3 435
#define PIDFD_OPEN 434
#define MOVE_MOUNT 429
#define OPEN_TREE 428
#define PIDFD_SEND_SIGNAL 424

static const struct {
	const char *name;
	int number;
} calls[] = {
	{ "mount_setattr", MOUNT_SETATTR },
	{ "openat2", OPENAT2 },
	{ "close_range", CLOSE_RANGE },
	{ "clone3", CLONE3 },
	{ "pidfd_open", PIDFD_OPEN },
	{ "pidfd_send_signal", PIDFD_SEND_SIGNAL },
	{ "move_mount", MOVE_MOUNT },
	{ "open_tree", OPEN_TREE },
	{ "pidfd_getfd", 438 },
	{ "faccessat2", 439 },
	{ "fchmodat2", 452 },
	{ "fsopen", 430 },
	{ "setns-many", SYS_setns },
	{ "statx", SYS_statx },
	{ "memfd_create", SYS_memfd_create },
	{ "execveat", SYS_execveat },
	{ "keyctl", SYS_keyctl },
	{ "sched_setattr", SYS_sched_setattr },
	{ "bpf", SYS_bpf },
};

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
#define MAX 400

int main(int argc, char **argv)
{
	struct sock_filter program[MAX];
	struct sock_fprog whole = { .filter = program };
	char *rest, *name;
	size_t n = 0, i;

	if (argc < 3)
		return 125;
	for (name = strtok_r(argv[1], ",", &rest); name && n + 8 < MAX; name = strtok_r(NULL, ",", &rest)) {
		for (i = 0; i < sizeof calls / sizeof *calls && strcmp(name, calls[i].name); i++)
			;
		if (i == sizeof calls / sizeof *calls) {
			fprintf(stderr, "without: no call %s\n", name);
			return 125;
		}
		struct sock_filter plain[] = {
			LOAD(nr),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, 0, 1),
			RETURN(SECCOMP_RET_ERRNO | ENOSYS),
		};
		/* Of the powers of two that there are for one namespace each, none. */
		struct sock_filter many[] = {
			LOAD(nr),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, 0, 6),
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
			BPF_STMT(BPF_MISC | BPF_TAX, 0),
			BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, 1),
			BPF_STMT(BPF_ALU | BPF_AND | BPF_X, 0),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
			RETURN(SECCOMP_RET_ERRNO | EINVAL),
		};
		if (strcmp(name, "setns-many")) {
			memcpy(program + n, plain, sizeof plain);
			n += sizeof plain / sizeof *plain;
		} else {
			memcpy(program + n, many, sizeof many);
			n += sizeof many / sizeof *many;
		}
	}
	program[n++] = (struct sock_filter)RETURN(SECCOMP_RET_ALLOW);
	whole.len = n;
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &whole)) {
		perror("without: seccomp");
		return 125;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}
