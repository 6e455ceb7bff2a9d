/* Sends messages to $NOTIFY_SOCKET, as sd_notify(3) does: one datagram for each argument.
 *
 * usage: send MESSAGE...    `@N` stands for N bytes, and `fds` for an empty line with eight descriptors.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

int main(int argc, char **argv)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (!name || strlen(name) >= sizeof(to.sun_path)) {
		fputs("no NOTIFY_SOCKET\n", stderr);
		return 2;
	}
	strcpy(to.sun_path, name);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to))) {
		perror(name);
		return 3;
	}
	for (int i = 1; i < argc; i++) {
		static char bytes[65536];
		union {
			struct cmsghdr header;
			char room[CMSG_SPACE(8 * sizeof(int))];
		} control = {0};
		struct iovec part = {argv[i], strlen(argv[i])};
		struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

		if (argv[i][0] == '@') {
			memset(bytes, '\n', sizeof(bytes));
			strcpy(bytes, "READY=1");
			part.iov_base = bytes;
			part.iov_len = atoi(argv[i] + 1);
		}
		if (!strcmp(argv[i], "fds")) {
			message.msg_control = &control;
			message.msg_controllen = sizeof(control);
			control.header.cmsg_level = SOL_SOCKET;
			control.header.cmsg_type = SCM_RIGHTS;
			control.header.cmsg_len = CMSG_LEN(8 * sizeof(int));
		}
		if (sendmsg(fd, &message, MSG_NOSIGNAL) < 0) {
			perror("sendmsg");
			return 4;
		}
	}
	return 0;
}
