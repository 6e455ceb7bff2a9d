/* What the tests of seccomp run in a container, and who answers for SCMP_ACT_NOTIFY beside it. Linked statically.
 *
 *   probe call NUMBER [ARG...]   makes a system call; prints what it returned, "errno N", or "trapped N" after SIGSYS
 *   probe call32 NUMBER [ARG...]      the same through int 0x80, as an x86 program (x86_64 alone)
 *   probe thread NUMBER               makes it in a second thread; prints whether the first one lives on
 *   probe traced NUMBER               makes it in a traced child; prints what the tracer was told
 *   probe loop COUNT                  calls getppid COUNT times; prints the nanoseconds each took
 *   probe listen SOCKET COUNT         takes a listener from SOCKET, prints the container's state that came with it and
 *                                     COUNT calls; each is answered with its first argument plus one
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void trapped(int signal, siginfo_t *info, void *context)
{
	char text[64];
	int len = snprintf(text, sizeof text, "trapped %d\n", info->si_syscall);
	(void)signal, (void)context;
	(void)!write(1, text, len);
	_exit(0);
}

static void tell(long result, long error)
{
	if (result == -1)
		printf("errno %ld\n", error);
	else
		printf("%ld\n", result);
}

static void *second(void *number)
{
	syscall(*(long *)number, 0, 0, 0, 0, 0, 0);
	return NULL;
}

static int traced(long number)
{
	pid_t pid = fork();
	int status;
	unsigned long message = 0;
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		long result = syscall(number, 0, 0, 0, 0, 0, 0);
		_exit(result == -1 ? errno : 0);
	}
	waitpid(pid, &status, 0);
	ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL);
	ptrace(PTRACE_CONT, pid, 0, 0);
	waitpid(pid, &status, 0);
	if (status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8)) {
		ptrace(PTRACE_GETEVENTMSG, pid, 0, &message);
		printf("told %lu\n", message);
	}
	ptrace(PTRACE_CONT, pid, 0, 0);
	waitpid(pid, &status, 0);
	return 0;
}

/* Takes the one descriptor of a message; returns the message's length. */
static ssize_t receive(int socket, char *text, size_t size, int *fd)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec part = {text, size};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	ssize_t len = recvmsg(socket, &message, 0);
	struct cmsghdr *header = len > 0 ? CMSG_FIRSTHDR(&message) : NULL;
	if (!header || header->cmsg_type != SCM_RIGHTS)
		return -1;
	memcpy(fd, CMSG_DATA(header), sizeof *fd);
	return len;
}

static int answer(const char *path, int count)
{
	static char text[65536];
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, listener = socket(AF_UNIX, SOCK_STREAM, 0);
	strncpy(address.sun_path, path, sizeof address.sun_path - 1);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1))
		return perror(path), 1;
	int connection = accept(listener, NULL, NULL);
	ssize_t len = receive(connection, text, sizeof text - 1, &fd);
	if (len < 0)
		return perror("recvmsg"), 1;
	printf("%.*s\n", (int)len, text);
	while (count-- > 0) {
		struct seccomp_notif call = {0};
		if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &call))
			return perror("SECCOMP_IOCTL_NOTIF_RECV"), 1;
		printf("call %d %llu\n", call.data.nr, (unsigned long long)call.data.args[0]);
		struct seccomp_notif_resp reply = {.id = call.id, .val = call.data.args[0] + 1};
		if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &reply))
			return perror("SECCOMP_IOCTL_NOTIF_SEND"), 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
	const char *what = argc > 2 ? argv[1] : "";
	long number = argc > 2 ? strtol(argv[2], NULL, 0) : 0, a[6] = {0};
	for (int i = 3; i < argc && i < 9; i++)
		a[i - 3] = (long)strtoull(argv[i], NULL, 0);
	if (!strcmp(what, "listen"))
		return answer(argv[2], argc > 3 ? atoi(argv[3]) : 1);
	if (!strcmp(what, "thread")) {
		pthread_t thread;
		pthread_create(&thread, NULL, second, &number);
		struct timespec second = {1, 0};
		nanosleep(&second, NULL);
		puts("the first lives");
		fflush(stdout);
		_exit(0);
	}
	if (!strcmp(what, "traced"))
		return traced(number);
	sigaction(SIGSYS, &action, NULL);
	if (!strcmp(what, "loop")) {
		struct timespec begin, end;
		clock_gettime(CLOCK_MONOTONIC, &begin);
		for (long i = 0; i < number; i++)
			syscall(SYS_getppid);
		clock_gettime(CLOCK_MONOTONIC, &end);
		double taken = (end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec);
		printf("%.2f\n", taken / number);
		return 0;
	}
	if (!strcmp(what, "call")) {
		long result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
		return tell(result, errno), 0;
	}
#ifdef __x86_64__
	if (!strcmp(what, "call32")) {
		long result = number;
		__asm__ volatile("int $0x80" : "+a"(result) : "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4]) : "memory");
		result = (int)result;
		return tell(result < 0 ? -1 : result, -result), 0;
	}
#endif
	return 2;
}
