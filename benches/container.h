// A container of the default spec, by the kernel calls that mote makes for it, in mote's order: for the programs of the benchmark
// that say what is the least it can cost. Keep in step with `strace -f mote run`. For both architectures: see sys.h.
#include "sys.h"
#include <asm/poll.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/sockios.h>
#include <linux/wait.h>

#define CWD (-100)
#define O_PATH 010000000
#define S_IFCHR 0020000
#define MNT_DETACH 2
#define AT_EMPTY_PATH_ 0x1000
#define AT_RECURSIVE_ 0x8000
#define STATE_TEXT 400

static long root;

// Ends with the number of the step that failed.
static long must(long result, int step) {
	if (result < 0)
		leave(step);
	return result;
}

static long resolve(const char *path) {
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
	return sys(__NR_openat2, root, path, &how, sizeof how);
}

static void mount_new(const char *type, const char *source, const char *target, long flags, const char *data) {
	long fd = resolve(target);
	if (fd < 0) {
		must(sys(__NR_mkdirat, root, target + 1, 0755), 20);
		fd = must(resolve(target), 21);
	}
	must(sys(__NR_fchdir, fd), 22);
	must(sys(__NR_mount, source, ".", type, flags, data), 23);
	sys(__NR_close, fd);
}

static long tree(long fd, const char *path, long flags) {
	return must(sys(__NR_open_tree, fd, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags), 24);
}

static void attach(long mount, long target) {
	must(sys(__NR_move_mount, mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH), 25);
}

static void set_readonly(long mount) {
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
	must(sys(__NR_mount_setattr, mount, "", AT_EMPTY_PATH_, &attr, sizeof attr), 26);
}

static void file_systems(const char *group) {
	long nosuid_noexec = MS_NOSUID | MS_NOEXEC;
	mount_new("proc", "proc", "/proc", 0, 0);
	mount_new("tmpfs", "tmpfs", "/dev", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k");
	mount_new("devpts", "devpts", "/dev/pts", nosuid_noexec, "newinstance,ptmxmode=0666,mode=0620,gid=5");
	mount_new("tmpfs", "shm", "/dev/shm", nosuid_noexec | MS_NODEV, "mode=1777,size=65536k");
	mount_new("mqueue", "mqueue", "/dev/mqueue", nosuid_noexec | MS_NODEV, 0);
	mount_new("sysfs", "sysfs", "/sys", nosuid_noexec | MS_NODEV | MS_RDONLY, 0);
	// The container's cgroup alone.
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC};
	long own = tree(CWD, group, 0), target = must(resolve("/sys/fs/cgroup"), 27);
	must(sys(__NR_mount_setattr, own, "", AT_EMPTY_PATH_, &attr, sizeof attr), 28);
	attach(own, target);
	sys(__NR_close, target);
	sys(__NR_close, own);
}

static void devices(void) {
	static const struct {
		const char *name;
		int number;
	} nodes[] = {{"null", 0x103}, {"zero", 0x105}, {"full", 0x107}, {"random", 0x108}, {"urandom", 0x109}, {"tty", 0x500}};
	static const char *const links[][2] = {
	    {"/proc/self/fd", "fd"},       {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"},
	    {"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"},
	};
	long dev = must(resolve("/dev"), 30);
	for (unsigned i = 0; i < sizeof nodes / sizeof *nodes; i++)
		must(sys(__NR_mknodat, dev, nodes[i].name, S_IFCHR | 0666, nodes[i].number), 31);
	for (unsigned i = 0; i < sizeof links / sizeof *links; i++)
		must(sys(__NR_symlinkat, links[i][0], dev, links[i][1]), 32);
	sys(__NR_close, dev);
}

static void masks(void) {
	static const char *const files[] = {"/proc/kcore", "/proc/keys", "/proc/timer_list"};
	static const char *const missing[] = {"/proc/asound", "/proc/latency_stats", "/proc/timer_stats", "/proc/sched_debug",
	                                      "/proc/scsi"};
	static const char *const directories[] = {"/proc/acpi", "/sys/firmware"};
	static const char *const readonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
	long null = must(sys(__NR_openat, CWD, "/dev/null", O_PATH | O_CLOEXEC), 33);
	for (unsigned i = 0; i < sizeof missing / sizeof *missing; i++)
		sys(__NR_close, resolve(missing[i]));
	for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
		long target = resolve(files[i]);
		if (target < 0)
			continue;
		long mount = tree(null, "", AT_EMPTY_PATH_);
		attach(mount, target);
		sys(__NR_close, mount);
		sys(__NR_close, target);
	}
	for (unsigned i = 0; i < sizeof directories / sizeof *directories; i++) {
		long target = resolve(directories[i]);
		if (target < 0)
			continue;
		must(sys(__NR_fchdir, target), 34);
		must(sys(__NR_mount, "tmpfs", ".", "tmpfs", MS_RDONLY, 0), 35);
		sys(__NR_close, target);
	}
	for (unsigned i = 0; i < sizeof readonly / sizeof *readonly; i++) {
		long target = resolve(readonly[i]);
		if (target < 0)
			continue;
		long mount = tree(target, "", AT_EMPTY_PATH_ | AT_RECURSIVE_);
		set_readonly(mount);
		attach(mount, target);
		sys(__NR_close, mount);
		sys(__NR_close, target);
	}
	sys(__NR_close, null);
}

static void become(void) {
	struct rlimit64 {
		unsigned long soft, hard;
	} files = {1024, 1024};
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	unsigned kept = 1u << CAP_AUDIT_WRITE | 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE;
	struct __user_cap_data_struct data[2] = {{.effective = kept, .permitted = kept}};
	must(sys(__NR_prlimit64, 0, RLIMIT_NOFILE, &files), 40);
	for (unsigned number = 0; number <= CAP_LAST_CAP; number++)
		if (number > 31 || !(kept >> number & 1))
			sys(__NR_prctl, PR_CAPBSET_DROP, number);
	must(sys(__NR_chdir, "/"), 41);
	must(sys(__NR_prctl, PR_SET_KEEPCAPS, 1), 42);
	must(sys(__NR_setgroups, 0), 43);
	must(sys(__NR_setresgid, 0, 0, 0), 44);
	must(sys(__NR_setresuid, 0, 0, 0), 45);
	must(sys(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL), 46);
	must(sys(__NR_capset, &header, data), 47);
	must(sys(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1), 48);
	sys(__NR_umask, 022);
}

static void loopback(void) {
	long lo = must(sys(__NR_socket, 2 /* AF_INET */, 2 /* SOCK_DGRAM */ | O_CLOEXEC, 0), 17);
	struct {
		char name[16];
		short flags;
		char rest[22];
	} up = {"lo", 1 /* IFF_UP */, {0}}; // struct ifreq
	must(sys(__NR_ioctl, lo, SIOCSIFFLAGS, &up), 18);
	sys(__NR_close, lo);
}

// The container's first process: in the network namespace `netns`, or, where that is negative, in the new one it is in.
static _Noreturn void child(const char *rootfs, const char *group, char *program, long netns, long report) {
	static char *const envp[] = {"PATH=/bin", "TERM=xterm", "HOME=/", 0};
	char *const argv[] = {program, 0};
	static unsigned long no_signals;
	sys(__NR_prctl, PR_SET_DUMPABLE, 0);
	sys(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &no_signals, 0, 8);
	sys(__NR_setsid);
	sys(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0);
	sys(__NR_umask, 0);
	if (netns >= 0)
		must(sys(__NR_setns, netns, CLONE_NEWNET), 19);
	must(sys(__NR_mount, 0, "/", 0, MS_SLAVE | MS_REC, 0), 10);
	root = tree(CWD, rootfs, AT_SYMLINK_NOFOLLOW | AT_RECURSIVE_);
	long place = must(sys(__NR_openat, CWD, rootfs, O_PATH | O_CLOEXEC), 11);
	attach(root, place);
	sys(__NR_close, place);
	file_systems(group);
	devices();
	masks();
	set_readonly(root);
	must(sys(__NR_fchdir, root), 12);
	must(sys(__NR_pivot_root, ".", "."), 13);
	must(sys(__NR_umount2, ".", MNT_DETACH), 14);
	must(sys(__NR_chdir, "/"), 15);
	must(sys(__NR_sethostname, "runc", 4), 16);
	if (netns < 0)
		loopback();
	become();
	sys(__NR_close_range, 3, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */);
	sys(__NR_write, report, "ready...", 8);
	sys(__NR_execve, argv[0], argv, envp);
	leave(50);
}

// A device program that refuses nothing: attaching one is the kernel's work, what is in it is not.
static void devices_allowed(long cgroup) {
	static struct bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 1}, {.code = BPF_JMP | BPF_EXIT}};
	union bpf_attr load = {
	    .prog_type = BPF_PROG_TYPE_CGROUP_DEVICE, .insns = (unsigned long)code, .insn_cnt = 2, .license = (unsigned long)"GPL"};
	long program = must(sys(__NR_bpf, BPF_PROG_LOAD, &load, sizeof load), 5);
	union bpf_attr attached = {.target_fd = (unsigned)cgroup,
	                           .attach_bpf_fd = (unsigned)program,
	                           .attach_type = BPF_CGROUP_DEVICE,
	                           .attach_flags = BPF_F_ALLOW_MULTI};
	must(sys(__NR_bpf, BPF_PROG_ATTACH, &attached, sizeof attached), 6);
	sys(__NR_close, program);
}

static void save(long state) {
	static const char text[STATE_TEXT];
	long file = must(sys(__NR_openat, state, ".state.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), 7);
	sys(__NR_write, file, text, sizeof text);
	sys(__NR_close, file);
	must(sys(__NR_renameat2, state, ".state.json", state, "state.json", 0), 8);
}

// Makes the container's process in `cgroup`; gives a descriptor of it.
static int spawn(const char *rootfs, const char *group, char *program, long cgroup, long netns, const int *report) {
	int pidfd;
	unsigned long own_net = netns < 0 ? CLONE_NEWNET : 0;
	struct clone_args args = {
	    .flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_PIDFD | CLONE_INTO_CGROUP | own_net,
	    .pidfd = (unsigned long)&pidfd,
	    .exit_signal = 17,
	    .cgroup = (unsigned long)cgroup,
	};
	if (must(sys(__NR_clone3, &args, sizeof args), 9) == 0)
		child(rootfs, group, program, netns, report[1]);
	sys(__NR_close, report[1]);
	return pidfd;
}
