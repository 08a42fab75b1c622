/*
 * make PROGRAM ARG...: makes a flat store without a catalog, adds three files to it
 * as two messages, seals it and becomes PROGRAM, with the store as descriptor 3. See
 * docs/fdstore-format.md.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static uint64_t number;

static void check(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static void send_message(int sock, uint64_t word, int n, const int *fds)
{
	uint64_t data[2] = { number, word };
	char control[CMSG_SPACE(253 * sizeof(int))] = { 0 };
	struct iovec iov = { data, sizeof data };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n > 0) {
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	check(sendmsg(sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof data, "sendmsg");
}

static int file(const char *text)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	check(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "memfd");
	return fd;
}

int main(int argc, char **argv)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	uint64_t random[2];
	char byte;
	int sock, fds[3];

	check(argc > 1, "no program");
	sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	check(sock >= 0, "socket");
	check(getrandom(random, sizeof random, 0) == sizeof random, "getrandom");
	int length = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "cstore-%016lx", random[0]);
	socklen_t size = offsetof(struct sockaddr_un, sun_path) + 1 + length;
	check(bind(sock, (struct sockaddr *)&name, size) == 0, "bind");
	check(connect(sock, (struct sockaddr *)&name, size) == 0, "connect");
	/* Another process may have sent a message before connect. */
	check(recv(sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0, "a stranger has sent");
	number = random[1] | 1;

	fds[0] = file("one");
	fds[1] = file("two");
	fds[2] = file("three");
	send_message(sock, 3ull << 56 | 0xffffull << 32 | 0x31736466, 0, NULL);
	send_message(sock, 1ull << 56 | 1ull << 48 | 1, 1, fds);
	send_message(sock, 1ull << 56 | 2ull << 48 | 2, 2, fds + 1);
	check(shutdown(sock, SHUT_WR) == 0, "shutdown");
	check(dup2(sock, 3) == 3, "dup2"); /* without close-on-exec */
	if (sock == 3)
		check(fcntl(3, F_SETFD, 0) == 0, "fcntl");
	execv(argv[1], argv + 1);
	check(0, argv[1]);
}
