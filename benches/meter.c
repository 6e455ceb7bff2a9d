// Beside PID 1 on a device in QEMU, for benches/restart: ends the container of the pod `bench` and runs the same bundle with
// `mote run`, in turn, and prints for each how many microseconds pass until the program's first instructions (now.c).
//
// As /init it leaves itself behind as a child, and becomes /mote. cc -Os -static meter.c
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOG "/var/log/pods/bench/now/0.log"
#define BUNDLE "/var/lib/mote/bundles/now"

static long long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

// Starts a program. With `out` a pipe from its standard output is left there.
static pid_t start(char *const argv[], int *out) {
	int ends[2] = {-1, -1};
	if (out && pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	pid_t pid = fork();
	if (pid == 0) {
		if (out)
			dup2(ends[1], 1);
		execv(argv[0], argv);
		_exit(127);
	}
	if (out)
		close(ends[1]), *out = ends[0];
	return pid;
}

// The text after the last `key` in what the pod's log, or a command, says; 0 if it is not there.
static long long last(const char *text, const char *key) {
	const char *at = NULL;
	for (const char *next = text; (next = strstr(next, key)); next++)
		at = next + strlen(key);
	return at ? atoll(at) : 0;
}

static char text[1 << 20];

static const char *read_all(int fd) {
	long n = 0, got;
	while (n < (long)sizeof text - 1 && (got = read(fd, text + n, sizeof text - 1 - n)) > 0)
		n += got;
	text[n] = 0;
	close(fd);
	return text;
}

static long long container(void) {
	char *const argv[] = {"/mote", "ps", "-o", "json", NULL};
	int out;
	pid_t pid = start(argv, &out);
	long long found = last(read_all(out), "\"container\":\"now\",\"state\":\"running\",\"pid\":");
	waitpid(pid, NULL, 0);
	return found;
}

static void restart(void) {
	long long pid = container(), begin = now();
	if (pid <= 1 || kill(pid, SIGKILL) < 0) {
		dprintf(1, "meter: no container to kill\n");
		return;
	}
	usleep(500 * 1000); // nothing looks meanwhile: there is one processor
	long long printed = last(read_all(open(LOG, O_RDONLY | O_CLOEXEC)), " stdout F ");
	if (printed > begin)
		dprintf(1, "meter: restart %lld\n", (printed - begin) / 1000);
	else
		dprintf(1, "meter: not restarted\n");
}

static void run(void) {
	char *const argv[] = {"/mote", "run", "--bundle", BUNDLE, "once", NULL};
	char *const end[] = {"/mote", "kill", "once", "KILL", NULL};
	int out;
	long long begin = now();
	pid_t pid = start(argv, &out);
	char line[64] = "";
	read(out, line, sizeof line - 1);
	waitpid(start(end, NULL), NULL, 0);
	waitpid(pid, NULL, 0);
	close(out);
	dprintf(1, "meter: run %lld\n", (atoll(line) - begin) / 1000);
}

int main(int argc, char **argv) {
	int rounds = argc > 1 ? atoi(argv[1]) : 10;
	if (fork()) {
		execl("/mote", "/init", NULL);
		return 1;
	}
	sleep(5);
	// PID 1 has changed its root.
	mkdir("/proc", 0755), mount("proc", "/proc", "proc", 0, NULL);
	if (chroot("/proc/1/root") < 0 || chdir("/") < 0)
		return 1;
	int console = open("/dev/console", O_RDWR);
	dup2(console, 0), dup2(console, 1), dup2(console, 2);
	for (int i = 0; i < rounds; i++) {
		run();
		sleep(2); // longer than the pod's backoff-reset: the next restart is immediate
		restart();
		sleep(1);
	}
	char *const off[] = {"/mote", "poweroff", NULL};
	waitpid(start(off, NULL), NULL, 0);
	return 0;
}
