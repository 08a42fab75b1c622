/*
 * pull FD ID: pulls message ID from the store whose root is descriptor FD and prints
 * the contents of its files, one after the other. It has nothing from the maker but
 * the descriptor, and was written from docs/fdstore-format.md.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef SO_PEEK_OFF
#define SO_PEEK_OFF 42
#endif

enum { SHARD = 64, ROOT_SHARDS = 32, BRANCH = 64, TRIES = 1000 };

static const uint64_t FILES = 1ull << 56, SOCKET = 2ull << 56, HEADER = 3ull << 56;
static const uint64_t COUNT = 0xffull << 48;
static const uint32_t MAGIC = 0x31736466;

/*
 * pull pulls the message at position pos whose word is want, except for the number
 * of files. If *number is 0, any store's message is accepted, and *number is set.
 */
static int pull(int sock, uint32_t pos, uint64_t want, uint64_t mask, uint64_t *number, uint64_t *word, int fds[253])
{
	for (int try = 0; try < TRIES; try++) {
		uint64_t data[2];
		char control[CMSG_SPACE(253 * sizeof(int))];
		struct iovec iov = { data, sizeof data };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
		int offset = 16 * pos, n = 0;

		if (setsockopt(sock, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) < 0) {
			if (errno == EINTR) /* the offset is that of another process: do not peek */
				continue;
			return -1;
		}
		ssize_t got = recvmsg(sock, &msg, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (got < 0 && errno != EAGAIN && errno != EINTR)
			return -1;
		if (got < 0)
			continue;
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			memcpy(fds, CMSG_DATA(c), n * sizeof(int));
		}
		if (got == 16 && !(msg.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) && (*number == 0 || data[0] == *number) &&
		    (data[1] & mask) == want && (int)((data[1] & COUNT) >> 48) == n) {
			*number = data[0];
			*word = data[1];
			return n;
		}
		while (n > 0) /* another message: another process has moved the offset */
			close(fds[--n]);
	}
	errno = ENOENT;
	return -1;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int step(int sock, uint32_t queue, uint32_t pos, uint64_t *number)
{
	int fds[253];
	uint64_t word;

	if (pull(sock, pos, SOCKET | (uint64_t)queue << 32 | pos, ~COUNT, number, &word, fds) != 1)
		fail("socket on the way");
	return fds[0];
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	int sock = atoi(argv[1]), fds[253], n;
	uint32_t id = strtoul(argv[2], NULL, 10), queue = 0, pos = id + 1, direct;
	uint64_t number = 0, word;

	n = pull(sock, 0, HEADER | MAGIC, ~(COUNT | 0xffffull << 32), &number, &word, fds);
	if (n < 0)
		fail("header");
	while (n > 0)
		close(fds[--n]); /* the catalog */
	direct = word >> 32 & 0xffff;
	if (direct != 0xffff && id >= direct) {
		uint32_t shard = (id - direct) / SHARD;

		pos = (id - direct) % SHARD;
		if (shard < ROOT_SHARDS) {
			sock = step(sock, 0, 1 + direct + shard, &number);
			queue = 1 + shard;
		} else {
			uint32_t branch = (shard - ROOT_SHARDS) / BRANCH;

			shard = (shard - ROOT_SHARDS) % BRANCH;
			queue = 1 + ROOT_SHARDS + branch * (1 + BRANCH);
			sock = step(sock, 0, 1 + direct + ROOT_SHARDS + branch, &number);
			sock = step(sock, queue, shard, &number);
			queue += 1 + shard;
		}
	}
	n = pull(sock, pos, FILES | (uint64_t)queue << 32 | pos, ~COUNT, &number, &word, fds);
	if (n < 0)
		fail("message");
	for (int i = 0; i < n; i++) {
		char text[4096];
		ssize_t got = pread(fds[i], text, sizeof text, 0);

		if (got < 0)
			fail("pread");
		fwrite(text, 1, got, stdout);
	}
	return 0;
}
