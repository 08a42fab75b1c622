/*
 * fdstore.h: get open files from a store by their names, in C.
 *
 *	#include "fdstore.h"
 *
 *	struct fdstore s;
 *	int fd;
 *
 *	if (fdstore_inherited(&s) == 0 && (fd = fdstore_get(&s, "web")) >= 0)
 *		serve(fd);
 *	fdstore_close(&s);
 *
 * The whole library is this file: C99 with POSIX, Linux 3.17 and newer, nothing to
 * link. All functions are static. On failure they return -1 and set errno:
 *
 *	ENOENT		no store in the environment; no message has this name
 *	EPROTO		the descriptor is not a store, or its catalog is damaged
 *	ENODATA		the store has no catalog: get files by number
 *	EMFILE		no free descriptors for the files
 *	EAGAIN		other processes moved the peek offset each time, or the
 *			store was emptied
 *	E2BIG		the message has more files than the array has space for
 *
 * Processes need no lock; threads of one process need one around each call.
 * The descriptors are close-on-exec, and the caller closes them. They share offset and
 * flags with the stored files. docs/fdstore-format.md describes the layout.
 */
#ifndef FDSTORE_H
#define FDSTORE_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef SO_PEEK_OFF
#define SO_PEEK_OFF 42
#endif

enum { FDSTORE_MAX_FILES = 253, FDSTORE_MAX_NAME = 255 };

struct fdstore {
	int root;	  /* -1: closed */
	int catalog;	  /* -1: the store has none */
	uint64_t number;  /* in every message */
	uint32_t direct;  /* how many messages are in the root itself */
};

/* Private: kinds of messages, see Messages in docs/fdstore-format.md. */
#define FDSTORE__FILES (UINT64_C(1) << 56)
#define FDSTORE__SOCKET (UINT64_C(2) << 56)
#define FDSTORE__HEADER (UINT64_C(3) << 56)
#define FDSTORE__COUNT (UINT64_C(0xff) << 48)
#define FDSTORE__MAGIC UINT32_C(0x31736466)
#define FDSTORE__CATALOG UINT64_C(0x3274616373646600)
enum { FDSTORE__TRIES = 1000, FDSTORE__SHARD = 64, FDSTORE__SHARDS = 32, FDSTORE__BRANCH = 64 };

static inline void fdstore__close_all(const int *fds, int n)
{
	int saved = errno;

	while (n > 0)
		close(fds[--n]);
	errno = saved;
}

/*
 * Peeks at a position, once, and returns the number of received files, or -1.
 * errno is EAGAIN if another try may succeed.
 */
static inline int fdstore__peek(int sock, uint32_t pos, uint64_t data[2], int fds[FDSTORE_MAX_FILES])
{
	union {
		char bytes[CMSG_SPACE(FDSTORE_MAX_FILES * sizeof(int)) + 512];
		struct cmsghdr align;
	} control;
	struct iovec iov = { data, 16 };
	struct msghdr msg;
	struct cmsghdr *c;
	int offset = (int)(16 * pos), n = 0;
	ssize_t got;

	if (setsockopt(sock, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) < 0) {
		if (errno == EINTR) /* the offset is that of another process: do not peek */
			errno = EAGAIN;
		return -1;
	}
	memset(&msg, 0, sizeof msg);
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	msg.msg_control = control.bytes;
	msg.msg_controllen = sizeof control.bytes;
	got = recvmsg(sock, &msg, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (got < 0) {
		if (errno == EINTR)
			errno = EAGAIN;
		return -1;
	}
	for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		int came = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || n + came > FDSTORE_MAX_FILES)
			continue;
		memcpy(fds + n, CMSG_DATA(c), (size_t)came * sizeof(int));
		n += came;
	}
	if (got == 16 && !(msg.msg_flags & MSG_TRUNC)) {
		if (!(msg.msg_flags & MSG_CTRUNC))
			return n;
		/* It may be a wrong message that does not fit: the caller checks the word. */
		fdstore__close_all(fds, n);
		errno = EMFILE;
		return -1;
	}
	fdstore__close_all(fds, n);
	errno = EAGAIN;
	return -1;
}

/*
 * Pulls the message at a position whose word is want in the bits of mask. If *number is
 * 0, any store's message is accepted, and *number is set.
 */
static inline int fdstore__pull(int sock, uint32_t pos, uint64_t want, uint64_t mask, uint64_t *number, uint64_t *word,
				int fds[FDSTORE_MAX_FILES])
{
	int try_;

	for (try_ = 0; try_ < FDSTORE__TRIES; try_++) {
		uint64_t data[2] = { 0, 0 };
		int n = fdstore__peek(sock, pos, data, fds);
		int ours = (*number == 0 || data[0] == *number) && (data[1] & mask) == want;

		if (n < 0 && errno != EAGAIN && (errno != EMFILE || ours))
			return -1;
		if (n >= 0 && ours && (int)((data[1] & FDSTORE__COUNT) >> 48) == n) {
			*number = data[0];
			*word = data[1];
			return n;
		}
		if (n > 0) /* another message: another process has moved the offset */
			fdstore__close_all(fds, n);
	}
	errno = EAGAIN;
	return -1;
}

/* Whether a socket is connected to itself, as the sockets of a store are. */
static inline int fdstore__is_store(int fd)
{
	struct sockaddr_un own, peer;
	socklen_t own_size = sizeof own, peer_size = sizeof peer, size = sizeof(int);
	int kind = 0;

	memset(&own, 0, sizeof own);
	memset(&peer, 0, sizeof peer);
	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &size) == 0 && kind == SOCK_DGRAM &&
	       getsockname(fd, (struct sockaddr *)&own, &own_size) == 0 && own.sun_family == AF_UNIX &&
	       getpeername(fd, (struct sockaddr *)&peer, &peer_size) == 0 && own_size == peer_size &&
	       memcmp(&own, &peer, own_size) == 0;
}

static inline void fdstore_close(struct fdstore *s)
{
	if (s->root >= 0)
		close(s->root);
	if (s->catalog >= 0)
		close(s->catalog);
	s->root = s->catalog = -1;
}

/*
 * Opens the store whose root is fd and that has this number, 0 for any. The store takes
 * over fd and makes it close-on-exec; after an error fd is the caller's.
 */
static inline int fdstore_open(struct fdstore *s, int fd, uint64_t number)
{
	int fds[FDSTORE_MAX_FILES], n;
	uint64_t word, magic;

	s->root = s->catalog = -1;
	s->number = 0;
	if (!fdstore__is_store(fd)) {
		errno = EPROTO;
		return -1;
	}
	n = fdstore__pull(fd, 0, FDSTORE__HEADER | FDSTORE__MAGIC, ~(FDSTORE__COUNT | UINT64_C(0xffff) << 32), &s->number, &word, fds);
	if (n < 0)
		return -1;
	s->direct = (uint32_t)(word >> 32 & 0xffff);
	if (n > 1 || (number != 0 && s->number != number) || (s->direct != 32 && s->direct != 0xffff)) {
		fdstore__close_all(fds, n);
		errno = EPROTO;
		return -1;
	}
	if (n == 1 && (pread(fds[0], &magic, 8, 0) != 8 || magic != FDSTORE__CATALOG)) {
		fdstore__close_all(fds, n);
		errno = EPROTO;
		return -1;
	}
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
		fdstore__close_all(fds, n);
		return -1;
	}
	s->root = fd;
	s->catalog = n == 1 ? fds[0] : -1;
	return 0;
}

/*
 * Opens the inherited store that FDSTORE_ROOT=FD:NUMBER names, and removes the variable
 * from the environment.
 */
static inline int fdstore_inherited(struct fdstore *s)
{
	const char *value = getenv("FDSTORE_ROOT");
	char *end;
	long fd;
	unsigned long long number;

	s->root = s->catalog = -1;
	if (!value) {
		errno = ENOENT;
		return -1;
	}
	errno = EPROTO;
	fd = strtol(value, &end, 10);
	if (end == value || *end != ':' || fd < 0 || fd > INT32_MAX)
		return -1;
	value = end + 1;
	number = strtoull(value, &end, 16);
	if (end != value + 16 || *end || number == 0)
		return -1;
	if (fdstore_open(s, (int)fd, number) < 0)
		return -1;
	return unsetenv("FDSTORE_ROOT");
}

/* Pulls a nested socket from another one. Closes from if it is not the root. */
static inline int fdstore__step(struct fdstore *s, int from, uint32_t queue, uint32_t pos)
{
	int fds[FDSTORE_MAX_FILES];
	uint64_t word;
	int n = fdstore__pull(from, pos, FDSTORE__SOCKET | (uint64_t)queue << 32 | pos, ~FDSTORE__COUNT, &s->number, &word, fds);

	if (from != s->root)
		fdstore__close_all(&from, 1);
	if (n == 1)
		return fds[0];
	if (n >= 0) {
		fdstore__close_all(fds, n);
		errno = EPROTO;
	}
	return -1;
}

/*
 * Gets all files of a message, at most max, into fds, and returns how many. ids
 * count from 0. The files are in the order in which they were stored.
 */
static inline int fdstore_get_id(struct fdstore *s, uint32_t id, int *fds, int max)
{
	int came[FDSTORE_MAX_FILES], n, sock = s->root;
	uint32_t queue = 0, pos = id + 1;
	uint64_t word;

	if (s->direct != 0xffff && id >= s->direct) {
		uint32_t shard = (id - s->direct) / FDSTORE__SHARD;

		pos = (id - s->direct) % FDSTORE__SHARD;
		if (shard < FDSTORE__SHARDS) {
			sock = fdstore__step(s, sock, 0, 1 + s->direct + shard);
			queue = 1 + shard;
		} else {
			uint32_t branch = (shard - FDSTORE__SHARDS) / FDSTORE__BRANCH;

			shard = (shard - FDSTORE__SHARDS) % FDSTORE__BRANCH;
			queue = 1 + FDSTORE__SHARDS + branch * (1 + FDSTORE__BRANCH);
			sock = fdstore__step(s, sock, 0, 1 + s->direct + FDSTORE__SHARDS + branch);
			if (sock >= 0)
				sock = fdstore__step(s, sock, queue, shard);
			queue += 1 + shard;
		}
	}
	if (sock < 0)
		return -1;
	n = fdstore__pull(sock, pos, FDSTORE__FILES | (uint64_t)queue << 32 | pos, ~FDSTORE__COUNT, &s->number, &word, came);
	if (sock != s->root)
		fdstore__close_all(&sock, 1);
	if (n > max) {
		fdstore__close_all(came, n);
		errno = E2BIG;
		return -1;
	}
	if (n > 0)
		memcpy(fds, came, (size_t)n * sizeof(int));
	return n;
}

/* The head of a record of the catalog that has a name. */
struct fdstore__record {
	uint32_t id;
	uint8_t files, length, unused[2];
	uint32_t links[4];
};

/* Looks up a name in the catalog's index and sets *id. */
static inline int fdstore_lookup(const struct fdstore *s, const char *name, uint32_t *id)
{
	uint64_t count, h = UINT64_C(14695981039346656037) ^ s->number, at;
	size_t i, length = strlen(name);
	uint32_t link, before = 0;

	if (s->catalog < 0) {
		errno = ENODATA;
		return -1;
	}
	if (length == 0 || length > FDSTORE_MAX_NAME) {
		errno = ENOENT;
		return -1;
	}
	for (i = 0; i < length; i++)
		h = (h ^ (unsigned char)name[i]) * UINT64_C(1099511628211);
	h ^= h >> 33;
	h *= UINT64_C(0xff51afd7ed558ccd);
	h ^= h >> 33;
	errno = EPROTO;
	if (pread(s->catalog, &link, 4, (off_t)(64 + 4 * (h % 512))) != 4)
		return -1;
	for (h /= 512; link != 0; h /= 4) {
		struct fdstore__record r;
		char text[FDSTORE_MAX_NAME];

		at = (uint64_t)link * 8;
		if (link <= before || at < 2112 || pread(s->catalog, &r, sizeof r, (off_t)at) != (ssize_t)sizeof r || r.length == 0) {
			errno = EPROTO; /* links lead forward only */
			return -1;
		}
		if (r.length == length && pread(s->catalog, text, length, (off_t)(at + sizeof r)) == (ssize_t)length &&
		    memcmp(text, name, length) == 0) {
			if (pread(s->catalog, &count, 8, 8) != 8)
				return -1;
			errno = ENOENT; /* unless it is counted, it is still being added */
			*id = r.id;
			return r.id < count ? 0 : -1;
		}
		before = link;
		link = r.links[h % 4];
	}
	errno = ENOENT;
	return -1;
}

/* Gets all files that were stored under a name; see fdstore_get_id. */
static inline int fdstore_get_group(struct fdstore *s, const char *name, int *fds, int max)
{
	uint32_t id;

	return fdstore_lookup(s, name, &id) < 0 ? -1 : fdstore_get_id(s, id, fds, max);
}

/* Gets the one file that was stored under a name and returns its descriptor. */
static inline int fdstore_get(struct fdstore *s, const char *name)
{
	int fd;

	return fdstore_get_group(s, name, &fd, 1) == 1 ? fd : -1;
}

#endif
