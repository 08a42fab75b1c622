/*
 * floor N K BASE: the least that a tree can cost.
 *
 * One parent forks N children in a loop, each dups one open file to K numbers
 * from BASE on and pauses. Nothing is shared, pulled or checked, so this is the
 * time and the memory that restoring a tree is measured against.
 *
 *	parent:  fork fork fork ... ──▶ wait for left == 0 ──▶ print ──▶ kill, reap
 *	child:   dup3 x K ──▶ left-- ──▶ pause       (the last one takes the time)
 *
 * Prints one line of JSON: elapsed_ns from the first fork until the last child
 * has its descriptors, private_kib of the child in the middle (Private_Clean +
 * Private_Dirty of smaps_rollup, since Linux 4.14).
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
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	MAX_TASKS = 200000,
	MAX_FDS = 1 << 20,
	WAIT_SECONDS = 60, /* until all children are ready; then something is wrong */
};

/* What the parent and the children share. */
struct shared {
	int left;       /* children that are not ready; a futex */
	int error;      /* errno of the first child that could not go on */
	int64_t end_ns; /* when left became 0 */
};

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

static _Noreturn void child(struct shared *sh, pid_t parent, int file, int k, int base)
{
	/* The parent may be dead already: then the signal never comes. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	for (int i = 0; i < k; i++) {
		if (dup3(file, base + i, O_CLOEXEC) < 0) {
			__atomic_store_n(&sh->error, errno, __ATOMIC_SEQ_CST);
			futex(&sh->left, FUTEX_WAKE, INT_MAX, NULL);
			_exit(1);
		}
	}
	if (__atomic_sub_fetch(&sh->left, 1, __ATOMIC_SEQ_CST) == 0) {
		__atomic_store_n(&sh->end_ns, now_ns(), __ATOMIC_SEQ_CST);
		futex(&sh->left, FUTEX_WAKE, INT_MAX, NULL);
	}
	for (;;)
		pause();
}

/* Waits until every child is ready. Gives 0 or an errno. */
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

/* Memory that only this process has, in KiB, or -1. */
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

int main(int argc, char **argv)
{
	int n, k, base, file, made = 0, error = 0;
	const char *what = "children";
	struct shared *sh;
	int64_t start;
	long kib = -1;
	pid_t parent = getpid(), *pids;

	if (argc != 4) {
		fprintf(stderr, "usage: floor N K BASE\n");
		return 2;
	}
	n = number(argv[1], "N", 1, MAX_TASKS);
	k = number(argv[2], "K", 0, MAX_FDS);
	base = number(argv[3], "BASE", 0, MAX_FDS);

	file = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (file < 0) {
		perror("floor: /dev/null");
		return 1;
	}
	if (base <= file) {
		fprintf(stderr, "floor: BASE %d: the number is in use, want %d or more\n", base, file + 1);
		return 2;
	}
	sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pids = calloc(n, sizeof *pids);
	if (sh == MAP_FAILED || !pids) {
		perror("floor: memory");
		return 1;
	}
	sh->left = n;

	start = now_ns();
	for (; made < n; made++) {
		pid_t pid = fork();

		if (pid == 0)
			child(sh, parent, file, k, base);
		if (pid < 0) {
			error = errno;
			what = "fork";
			break;
		}
		pids[made] = pid;
	}
	if (!error)
		error = wait_ready(sh);
	if (!error) {
		kib = private_kib(pids[n / 2]);
		if (kib < 0) {
			error = errno ? errno : EIO;
			what = "smaps_rollup";
		}
	}

	/* Nobody else reaps them, so these numbers are still theirs. */
	for (int i = 0; i < made; i++)
		kill(pids[i], SIGKILL);
	for (int i = 0; i < made; i++)
		while (waitpid(pids[i], NULL, 0) < 0 && errno == EINTR)
			;

	if (error) {
		fprintf(stderr, "floor: %s (%d of %d forked): %s\n", what, made, n, strerror(error));
		return 1;
	}
	printf("{\"tasks\":%d,\"fds\":%d,\"elapsed_ns\":%lld,\"private_kib\":%ld}\n", n, k,
	       (long long)(sh->end_ns - start), kib);
	return fflush(stdout) ? 1 : 0;
}
