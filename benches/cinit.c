// What starting the first container costs an init that does nothing else: mounts proc, sys, dev and cgroup2, makes the
// namespaces of the default spec and runs a bundle's program in its rootfs. For the comparison in QEMU of the time from the
// kernel's "Run /init" to the program's first instruction. Writes one line to the kernel log before it
// clones; stays at the end.
//
//     rdinit=/cinit ... -- ROOTFS PROGRAM ARG...      (the kernel passes what follows -- to init)
//
// Built as a C init is, statically with a C library: cc -Os -static cinit.c
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char stack[65536] __attribute__((aligned(16)));

static int child(void *arg) {
	char **argv = arg;
	setsid();
	mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL);
	mount(argv[1], argv[1], NULL, MS_BIND | MS_REC, NULL);
	chdir(argv[1]);
	mount("proc", "proc", "proc", 0, NULL);
	mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k");
	mkdir("dev/pts", 0755), mkdir("dev/shm", 0755), mkdir("dev/mqueue", 0755);
	mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
	mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=1777,size=65536k");
	mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
	mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, NULL);
	mount(".", "/", NULL, MS_MOVE, NULL); // pivot_root refuses to leave the initramfs
	chroot(".");
	chdir("/");
	sethostname("cinit", 5);
	execv(argv[2], argv + 2);
	_exit(127);
}

int main(int argc, char **argv) {
	mkdir("/proc", 0755), mkdir("/sys", 0755), mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
	mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
	mount("dev", "/dev", "devtmpfs", MS_NOSUID, "mode=755");
	mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
	mkdir("/sys/fs/cgroup/cinit", 0755);
	int console = open("/dev/console", O_RDWR);
	dup2(console, 0), dup2(console, 1), dup2(console, 2);
	write(open("/dev/kmsg", O_WRONLY | O_CLOEXEC), "cinit: starting\n", 16);
	int flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET | SIGCHLD;
	if (argc > 2 && clone(child, stack + sizeof stack, flags, argv) > 0)
		wait(NULL);
	for (;;)
		pause();
}
