/* Clients of the control socket that mean PID 1 no good, for the devices of the tests. Linked statically.
 *
 *   clients all        each of these; prints what did not go as it should
 *   clients hold N S   4 clients that ask and ask and never read, and N that never ask; says "held" and stays for S seconds
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char PS[] = "{\"version\":1,\"request\":\"ps\"}";
static int failed;

static void complain(const char *what, const char *seen)
{
    printf("%s: %s\n", what, seen);
    failed = 1;
}

static int client(void)
{
    struct sockaddr_un address = { AF_UNIX, "/run/mote/control.sock" };
    struct timeval limit = { 10, 0 };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        perror("connect");
        exit(1);
    }
    return fd;
}

/* Sends a packet and gives all that comes until the other side hangs up: an empty text for nothing, NULL for no end of it. */
static const char *ask(const void *packet, size_t length)
{
    static char said[65536];
    size_t have = 0;
    ssize_t got = 0;
    int fd = client();
    send(fd, packet, length, MSG_NOSIGNAL);
    while (have < sizeof said - 1024 && (got = recv(fd, said + have, 1024, 0)) > 0)
        have += got;
    close(fd);
    said[have] = 0;
    return got < 0 && errno != ECONNRESET ? NULL : said;
}

static void halves(void)
{
    static const char *const HALVES[] = { "{", "{\"version\":1,\"requ", "{\"version\":1", "\xff\xfe", "[[[[[[[[", "{\"version\":1,\"request\":\"\x1b[2J\"}" };
    for (int i = 0; i < 240; i++) {
        const char *half = HALVES[i % 6];
        const char *said = ask(half, strlen(half));
        /* More of them than there are places come and go, so some are told to come again. */
        if (!said || strncmp(said, "{\"error\":\"", 10))
            complain(half, said ? said : "no end");
    }
    /* Longer than what is read, and longer still. */
    char *large = memset(malloc(100 << 10), ' ', 100 << 10);
    for (size_t length = 1025; length < 100 << 10; length *= 3) {
        const char *said = ask(large, length);
        if (!said || strncmp(said, "{\"error\":\"", 10))
            complain("a long packet", said ? said : "no end");
    }
}

/* What is sent along is closed by the kernel. */
static void descriptors(void)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(100 * sizeof(int))];
    } control;
    struct iovec part = { (void *)PS, sizeof PS - 1 };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    memset(&control, 0, sizeof control);
    control.header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(100 * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
    for (int i = 0; i < 100; i++)
        memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &(int){ 1 }, sizeof(int));
    for (int i = 0; i < 20; i++) {
        int fd = client();
        if (sendmsg(fd, &message, MSG_NOSIGNAL) < 0 && errno != EPIPE)
            complain("sendmsg", strerror(errno));
        close(fd);
    }
}

/* Somebody else, as if the way were open to all. */
static void others(void)
{
    if (fork() == 0) {
        failed = 0;
        if (setgid(1000) || setuid(1000))
            complain("setuid", strerror(errno));
        for (int i = 0; i < 100; i++) {
            const char *said = ask(PS, sizeof PS - 1);
            if (!said || *said)
                complain("another user was answered", said ? said : "no end");
        }
        fflush(stdout);
        _exit(failed);
    }
    int status;
    wait(&status);
    failed |= status != 0;
}

int main(int count, char **args)
{
    if (count == 4 && !strcmp(args[1], "hold")) {
        for (int i = 0; i < 4 + atoi(args[2]); i++) {
            int fd = client();
            if (i < 4)
                while (send(fd, PS, sizeof PS - 1, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
                    ;
        }
        puts("held");
        fflush(stdout);
        sleep(atoi(args[3]));
        return 0;
    }
    if (count != 2 || strcmp(args[1], "all"))
        return 2;
    for (int i = 0; i < 1000; i++)
        close(client());
    halves();
    descriptors();
    others();
    return failed;
}
