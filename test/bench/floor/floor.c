/*
 * floor SHAPE N K BASE: the minimal cost of a tree.
 *
 *	wide     one parent forks N children in a loop
 *	chain    each of N children forks the next
 *	private  wide, and each child opens K files of its own
 *
 * Each child has K open files at the numbers from BASE on and pauses. In wide and
 * chain they are dups of one file: nothing is pulled or checked. Restores are
 * compared with the time and memory of this program. In private each file is opened
 * as in a restore: first with O_PATH to check it, because opening a FIFO would
 * block, then through /proc/self/fd.
 *
 *	parent:  fork fork fork ... ──▶ wait for left == 0 ──▶ print ──▶ kill, reap
 *	child:   open, dup3 x K ──▶ left-- ──▶ pause (the last one takes the time)
 *
 * Prints one line of JSON: elapsed_ns from the first fork until the last child
 * has its descriptors, cpu_ns of all processes until then (schedstat, see
 * Documentation/scheduler/sched-stats.rst), private_kib of the child in the middle
 * (Private_Clean + Private_Dirty of smaps_rollup, since Linux 4.14).
 *
 * Build: gcc -O2 -static. A dynamic binary has more pages to copy for each
 * fork and would be a softer floor.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	MAX_TASKS = 200000,
	MAX_FDS = 1 << 20,
	WAIT_SECONDS = 60, /* timeout until all children are ready */
};

/* Shared by the parent and the children. */
struct shared {
	int left;       /* children that are not ready; a futex */
	int error;      /* errno of the first child that could not go on */
	int64_t end_ns; /* when left became 0 */
	pid_t pids[];
};

enum shape { WIDE, CHAIN, PRIVATE };

static struct {
	enum shape shape;
	int n, k, base, file;
	struct shared *sh;
} tree;

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* The mapping is shared between processes: no FUTEX_PRIVATE_FLAG. */
static long futex(int *word, int op, int val, const struct timespec *timeout)
{
	return syscall(SYS_futex, word, op, val, timeout, NULL, 0);
}

static _Noreturn void fail(int error)
{
	__atomic_store_n(&tree.sh->error, error, __ATOMIC_SEQ_CST);
	futex(&tree.sh->left, FUTEX_WAKE, INT_MAX, NULL);
	_exit(1);
}

static void dup_all(void)
{
	for (int i = 0; i < tree.k; i++)
		if (dup3(tree.file, tree.base + i, O_CLOEXEC) < 0)
			fail(errno);
}

/* Opens /dev/null k times, below base, and moves each file to its number. */
static void open_all(void)
{
	for (int i = 0; i < tree.k; i++) {
		char path[32];
		struct stat st;
		int fd, look = open("/dev/null", O_PATH | O_CLOEXEC);

		if (look < 0 || fstat(look, &st) < 0 || S_ISFIFO(st.st_mode))
			fail(errno);
		snprintf(path, sizeof path, "/proc/self/fd/%d", look);
		fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
		if (fd < 0 || close(look) < 0)
			fail(errno);
		if (dup3(fd, tree.base + i, O_CLOEXEC) < 0)
			fail(errno);
		close(fd);
	}
}

static pid_t fork_child(int i, pid_t parent);

static _Noreturn void child(int i, pid_t parent)
{
	/* If the parent has died already, the signal never comes. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	if (tree.shape == CHAIN && i + 1 < tree.n && fork_child(i + 1, getpid()) < 0)
		fail(errno);
	if (tree.shape == PRIVATE)
		open_all();
	else
		dup_all();
	if (__atomic_sub_fetch(&tree.sh->left, 1, __ATOMIC_SEQ_CST) == 0) {
		__atomic_store_n(&tree.sh->end_ns, now_ns(), __ATOMIC_SEQ_CST);
		futex(&tree.sh->left, FUTEX_WAKE, INT_MAX, NULL);
	}
	for (;;)
		pause();
}

static pid_t fork_child(int i, pid_t parent)
{
	pid_t pid = fork();

	if (pid == 0)
		child(i, parent);
	if (pid > 0)
		tree.sh->pids[i] = pid;
	return pid;
}

/* Waits until every child is ready. Returns 0 or an errno. */
static int wait_ready(struct shared *sh)
{
	int64_t deadline = now_ns() + WAIT_SECONDS * INT64_C(1000000000);

	for (;;) {
		/* Short: the wake of a failed child leaves left as it was, so it
		 * can come between this look and the futex and be missed. */
		const struct timespec slice = { .tv_nsec = 100 * 1000 * 1000 };
		int left = __atomic_load_n(&sh->left, __ATOMIC_SEQ_CST);
		int error = __atomic_load_n(&sh->error, __ATOMIC_SEQ_CST);

		if (error)
			return error;
		if (left == 0 && __atomic_load_n(&sh->end_ns, __ATOMIC_SEQ_CST))
			return 0;
		if (now_ns() > deadline)
			return ETIMEDOUT;
		if (left > 0)
			futex(&sh->left, FUTEX_WAIT, left, &slice);
	}
}

/* Private memory of a process in KiB, or -1. */
static long private_kib(pid_t pid)
{
	char path[64], line[256];
	long sum = 0, kib, found = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
	f = fopen(path, "re");
	if (!f)
		return -1;
	while (fgets(line, sizeof line, f)) {
		if (sscanf(line, "Private_Clean: %ld", &kib) == 1 ||
		    sscanf(line, "Private_Dirty: %ld", &kib) == 1) {
			sum += kib;
			found++;
		}
	}
	fclose(f);
	return found == 2 ? sum : -1;
}

/* The processor time of a process in nanoseconds, 0 if it is unknown. */
static int64_t cpu_ns(pid_t pid)
{
	char path[64];
	long long ns = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
	f = fopen(path, "re");
	if (f) {
		if (fscanf(f, "%lld", &ns) != 1)
			ns = 0;
		fclose(f);
	}
	return ns;
}

static int number(const char *s, const char *what, int lo, int hi)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(s, &end, 10);
	if (errno || end == s || *end || v < lo || v > hi) {
		fprintf(stderr, "floor: %s %s: want %d to %d\n", what, s, lo, hi);
		exit(2);
	}
	return (int)v;
}

static enum shape shape_of(const char *name)
{
	static const char *const names[] = { "wide", "chain", "private" };

	for (int i = 0; i < 3; i++)
		if (!strcmp(name, names[i]))
			return i;
	fprintf(stderr, "floor: SHAPE %s: want wide, chain or private\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	int made = 0, error = 0, forks;
	const char *what = "children";
	int64_t start, cpu = 0;
	size_t size;
	long kib = -1;

	if (argc != 5) {
		fprintf(stderr, "usage: floor SHAPE N K BASE\n");
		return 2;
	}
	tree.shape = shape_of(argv[1]);
	tree.n = number(argv[2], "N", 1, MAX_TASKS);
	tree.k = number(argv[3], "K", 0, MAX_FDS);
	tree.base = number(argv[4], "BASE", 0, MAX_FDS);

	tree.file = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (tree.file < 0) {
		perror("floor: /dev/null");
		return 1;
	}
	if (tree.base <= tree.file + 2) {
		fprintf(stderr, "floor: BASE %d: the numbers below are in use, want %d or more\n", tree.base, tree.file + 3);
		return 2;
	}
	size = sizeof *tree.sh + tree.n * sizeof *tree.sh->pids;
	tree.sh = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	/* Orphans of a chain become children of this process, which reaps them. Since Linux 3.4. */
	if (tree.sh == MAP_FAILED || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) {
		perror("floor: memory");
		return 1;
	}
	tree.sh->left = tree.n;

	start = now_ns();
	forks = tree.shape == CHAIN ? 1 : tree.n;
	for (; made < forks; made++) {
		if (fork_child(made, getpid()) < 0) {
			error = errno;
			what = "fork";
			break;
		}
	}
	if (!error)
		error = wait_ready(tree.sh);
	if (!error) {
		cpu = cpu_ns(getpid());
		for (int i = 0; i < tree.n; i++)
			cpu += cpu_ns(tree.sh->pids[i]);
		kib = private_kib(tree.sh->pids[tree.n / 2]);
		if (kib < 0) {
			error = errno ? errno : EIO;
			what = "smaps_rollup";
		}
	}

	/* Only this process reaps these, so the pids are still theirs. A child's death
	 * kills its own children, which then come here. */
	for (int i = 0; i < made; i++)
		kill(tree.sh->pids[i], SIGKILL);
	while (wait(NULL) > 0 || errno == EINTR)
		;

	if (error) {
		fprintf(stderr, "floor: %s (%d of %d forked): %s\n", what, made, forks, strerror(error));
		return 1;
	}
	printf("{\"tasks\":%d,\"fds\":%d,\"elapsed_ns\":%lld,\"private_kib\":%ld,\"cpu_ns\":%lld}\n", tree.n, tree.k,
	       (long long)(tree.sh->end_ns - start), kib, (long long)cpu);
	return fflush(stdout) ? 1 : 0;
}
