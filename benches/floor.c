// The least that `run` of the default spec can cost: makes the kernel calls that mote makes for it, in mote's order, with
// nothing read and nothing decided.
//
//     floor ROOTFS CGROUP STATE       a bundle's rootfs, a cgroup v2 directory to make, a state directory to make
//
// Left out, because they are reading and deciding: config.json, the caller's cgroups, what kind a file is, which program
// PATH means. Kept: every call that makes, mounts, enters, drops or removes something, and the lookup of each mount target
// beneath the root. For both architectures: see sys.h.
#include "container.h"

static _Noreturn void start(long *stack) {
	if (stack[0] != 4)
		leave(2);
	const char *rootfs = (char *)stack[2], *group = (char *)stack[3], *directory = (char *)stack[4];
	static unsigned long signals = ~0UL;
	static char bytes[8];
	int report[2];
	sys(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &signals, 0, 8);
	long signalfd = sys(__NR_signalfd4, -1, &signals, 8, O_CLOEXEC);
	must(sys(__NR_mkdirat, CWD, directory, 0700), 3);
	long state = must(sys(__NR_openat, CWD, directory, O_RDONLY | O_CLOEXEC), 3);
	must(sys(__NR_mkdirat, CWD, group, 0755), 4);
	long cgroup = must(sys(__NR_openat, CWD, group, O_RDONLY | O_CLOEXEC), 4);
	devices_allowed(cgroup);
	must(sys(__NR_pipe2, report, O_CLOEXEC), 9);
	int pidfd = spawn(rootfs, group, "/bin/true", cgroup, -1, report);
	save(state);
	sys(__NR_read, report[0], bytes, 8);
	sys(__NR_read, report[0], bytes, 8);
	struct pollfd both[2] = {{.fd = pidfd, .events = POLLIN}, {.fd = (int)signalfd, .events = POLLIN}};
	sys(__NR_ppoll, both, 1, 0, 0, 0);
	char ended[128] = {0};
	must(sys(__NR_waitid, P_PIDFD, pidfd, ended, WEXITED), 9);
	int code = *(int *)(ended + 24);
	long removed;
	while ((removed = sys(__NR_unlinkat, CWD, group, 0x200 /* AT_REMOVEDIR */)) == -16 /* EBUSY */)
		;
	must(removed, 9);
	must(sys(__NR_unlinkat, state, "state.json", 0), 9);
	must(sys(__NR_unlinkat, CWD, directory, 0x200), 9);
	leave(code);
}
