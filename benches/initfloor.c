// The least that starting the first container can cost PID 1: makes the kernel calls that mote makes for it from its own first
// instruction on, in mote's order, with nothing read and nothing decided.
//
//     rdinit=/init ... -- ROOTFS PROGRAM      (the kernel passes what follows -- to init)
//
// Left out, because they are reading and deciding: settings, kernel command line, manifest, config.json, /proc/meminfo, what is there from
// an earlier run. Kept: the way off the initramfs, the device's mounts, the directory of pins, a process that starts
// the container, the pod's network namespace with lo up and its pin, the cgroups with their controllers and the limits of a pod
// that asks for none, the device program, the state, the container. Beside cinit.c it says what the difference costs at least.
#include "container.h"

#define CGROUPS "/sys/fs/cgroup"
#define POD CGROUPS "/pods/bench"
#define OWN POD "/first"

static void put(const char *path, const char *text) {
	long file = must(sys(__NR_openat, CWD, path, O_WRONLY | O_CLOEXEC), 60);
	must(sys(__NR_write, file, text, length(text)), 61);
	sys(__NR_close, file);
}

static void off_the_initramfs(void) {
	sys(__NR_mkdirat, CWD, "/proc", 0555);
	must(sys(__NR_mount, "/", "/proc", 0, MS_BIND, 0), 62);
	must(sys(__NR_chdir, "/proc"), 62);
	must(sys(__NR_mount, ".", "/", 0, MS_MOVE, 0), 63);
	must(sys(__NR_chroot, "."), 63);
	must(sys(__NR_chdir, "/"), 63);
}

static void mounts(void) {
	long safe = MS_NOSUID | MS_NODEV, safest = safe | MS_NOEXEC, devices = MS_NOSUID | MS_NOEXEC;
	const struct {
		const char *type, *on;
		long flags;
		const char *data;
	} all[] = {
	    {"proc", "/proc", safest, 0},
	    {"sysfs", "/sys", safest, 0},
	    {"devtmpfs", "/dev", devices, "mode=0755"},
	    {"devpts", "/dev/pts", devices, "mode=0620,gid=5,ptmxmode=0666"},
	    {"tmpfs", "/dev/shm", safe, "mode=1777"},
	    {"tmpfs", "/run", safe, "mode=0755"},
	    {"tmpfs", "/tmp", safe, "mode=1777"},
	    {"tmpfs", "/var/log", safest, "mode=0755"},
	    {"cgroup2", CGROUPS, safest, 0},
	};
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
		if (sys(__NR_mount, all[i].type, all[i].on, all[i].type, all[i].flags, all[i].data) >= 0)
			continue;
		must(sys(__NR_mkdirat, CWD, all[i].on, 0755), 64);
		must(sys(__NR_mount, all[i].type, all[i].on, all[i].type, all[i].flags, all[i].data), 64);
	}
}

static long lock_pins(void) {
	long pins = must(sys(__NR_openat, CWD, "/run/mote/netns", O_RDONLY | O_CLOEXEC), 65);
	must(sys(__NR_flock, pins, 2 /* LOCK_EX */), 65);
	return pins;
}

static long pinned_network(void) {
	long pins = lock_pins();
	must(sys(__NR_unshare, CLONE_NEWNET), 66);
	loopback();
	sys(__NR_close, must(sys(__NR_openat, CWD, "/run/mote/netns/bench", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444), 67));
	must(sys(__NR_mount, "/proc/self/ns/net", "/run/mote/netns/bench", 0, MS_BIND, 0), 67);
	long pin = must(sys(__NR_openat, CWD, "/run/mote/netns/bench", O_RDONLY | O_CLOEXEC), 67);
	sys(__NR_close, pins);
	return pin;
}

static long cgroups(void) {
	static const char controllers[] = "+cpuset +cpu +io +memory +hugetlb +pids +rdma +misc";
	must(sys(__NR_mkdirat, CWD, CGROUPS "/pods", 0755), 68);
	put(CGROUPS "/cgroup.subtree_control", controllers);
	put(CGROUPS "/pods/memory.max", "100000000");
	must(sys(__NR_mkdirat, CWD, POD, 0755), 68);
	put(CGROUPS "/pods/cgroup.subtree_control", controllers);
	put(POD "/pids.max", "512");
	put(POD "/memory.high", "90000000");
	put(POD "/memory.max", "95000000");
	put(POD "/cpu.weight", "1");
	must(sys(__NR_mkdirat, CWD, OWN, 0755), 68);
	put(POD "/cgroup.subtree_control", controllers);
	put(OWN "/memory.oom.group", "1");
	return must(sys(__NR_openat, CWD, OWN, O_RDONLY | O_CLOEXEC), 68);
}

static _Noreturn void starter(const char *rootfs, char *program, long to) {
	static char bytes[224];
	int report[2];
	sys(__NR_setsid);
	sys(__NR_prctl, PR_SET_NAME, "starter");
	long netns = pinned_network(), cgroup = cgroups();
	must(sys(__NR_mkdirat, CWD, "/run/mote/bench_first", 0700), 69);
	long state = must(sys(__NR_openat, CWD, "/run/mote/bench_first", O_RDONLY | O_CLOEXEC), 69);
	devices_allowed(cgroup);
	must(sys(__NR_pipe2, report, O_CLOEXEC), 69);
	spawn(rootfs, OWN, program, cgroup, netns, report);
	save(state);
	sys(__NR_read, report[0], bytes, 8);
	sys(__NR_read, report[0], bytes, 8);
	sys(__NR_write, to, bytes, sizeof bytes);
	leave(0);
}

static _Noreturn void start(long *stack) {
	static unsigned long signals = ~0UL;
	int out[2], error[2], reports[2];
	sys(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &signals, 0, 8);
	off_the_initramfs();
	mounts();
	must(sys(__NR_sethostname, "floor", 5), 70);
	must(sys(__NR_mkdirat, CWD, "/run/mote", 0700), 70);
	must(sys(__NR_mkdirat, CWD, "/run/mote/netns", 0755), 70);
	long pins = lock_pins();
	must(sys(__NR_mount, "/run/mote/netns", "/run/mote/netns", 0, MS_BIND | MS_REC, 0), 71);
	must(sys(__NR_mount, "", "/run/mote/netns", "none", MS_SHARED | MS_REC, 0), 71);
	sys(__NR_close, pins);
	must(sys(__NR_pipe2, out, O_CLOEXEC), 72);
	must(sys(__NR_pipe2, error, O_CLOEXEC), 72);
	must(sys(__NR_socketpair, 1 /* AF_UNIX */, 5 /* SOCK_SEQPACKET */ | O_CLOEXEC, 0, reports), 72);
	struct clone_args args = {.exit_signal = 17};
	if (stack[0] > 2 && must(sys(__NR_clone3, &args, sizeof args), 73) == 0)
		starter((char *)stack[2], (char *)stack[3], reports[1]);
	for (;;)
		sys(__NR_ppoll, 0, 0, 0, 0, 0);
}
