/*
 * probe: a program in a restored tree that prints the state that it was started
 * with, one "key value" a line, on standard output. Each value comes from a system
 * call of its own, not from regrow. Built with -static, so that no loader changes
 * anything.
 *
 *	limit NAME SOFT HARD   each resource limit ("unlimited" as -1)
 *	mask HEX               blocked signals, bit N-1 for signal N
 *	ignored N ... / caught N ...
 *	altstack off|on
 *	umask OCTAL
 *	fd N FLAGS FDFLAGS     fcntl(F_GETFL) in octal, fcntl(F_GETFD)
 *	threads N
 *	pdeathsig N, dumpable N, subreaper N, nonewprivs N
 *	pid, ppid, pgid, sid N; argv I TEXT; env TEXT; cwd PATH
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct { int id; const char *name; } limits[] = {
	{ RLIMIT_AS, "as" }, { RLIMIT_CORE, "core" }, { RLIMIT_CPU, "cpu" },
	{ RLIMIT_DATA, "data" }, { RLIMIT_FSIZE, "fsize" }, { RLIMIT_MEMLOCK, "memlock" },
	{ RLIMIT_MSGQUEUE, "msgqueue" }, { RLIMIT_NICE, "nice" }, { RLIMIT_NOFILE, "nofile" },
	{ RLIMIT_NPROC, "nproc" }, { RLIMIT_RSS, "rss" }, { RLIMIT_RTPRIO, "rtprio" },
	{ RLIMIT_SIGPENDING, "sigpending" }, { RLIMIT_STACK, "stack" },
};

static void signals(void)
{
	sigset_t mask;
	unsigned long bits = 0;
	struct sigaction sa;

	sigprocmask(SIG_BLOCK, NULL, &mask);
	for (int sig = 1; sig < NSIG; sig++)
		if (sigismember(&mask, sig) == 1)
			bits |= 1ul << (sig - 1);
	printf("mask %lx\n", bits);
	for (int sig = 1; sig < NSIG; sig++) {
		if (sigaction(sig, NULL, &sa) < 0)
			continue;
		if (sa.sa_handler == SIG_IGN)
			printf("ignored %d\n", sig);
		else if (sa.sa_handler != SIG_DFL)
			printf("caught %d\n", sig);
	}
}

/* count tells the entries of a folder in /proc, and shows them as descriptors. */
static int count(const char *path, int show)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	int n = 0;

	if (!dir)
		return -1;
	while ((e = readdir(dir))) {
		int fd = atoi(e->d_name);

		if (e->d_name[0] == '.' || (show && fd == dirfd(dir)))
			continue;
		n++;
		if (show)
			printf("fd %d %o %d\n", fd, fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
	}
	closedir(dir);
	return n;
}

int main(int argc, char **argv, char **envp)
{
	struct rlimit rl;
	stack_t ss;
	mode_t um;
	int v = 0;
	char *cwd;

	count("/proc/self/fd", 1); /* first: printf opens nothing, but who knows */
	printf("threads %d\n", count("/proc/self/task", 0));
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		getrlimit(limits[i].id, &rl);
		printf("limit %s %ld %ld\n", limits[i].name, (long)rl.rlim_cur, (long)rl.rlim_max);
	}
	signals();
	sigaltstack(NULL, &ss);
	printf("altstack %s\n", ss.ss_flags & SS_DISABLE ? "off" : "on");
	um = umask(0);
	umask(um);
	printf("umask %03o\n", um);
	prctl(PR_GET_PDEATHSIG, &v);
	printf("pdeathsig %d\n", v);
	printf("dumpable %d\n", prctl(PR_GET_DUMPABLE));
	prctl(PR_GET_CHILD_SUBREAPER, &v);
	printf("subreaper %d\n", v);
	printf("nonewprivs %d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	printf("pid %d\nppid %d\npgid %d\nsid %d\n", getpid(), getppid(), getpgrp(), getsid(0));
	for (int i = 0; i < argc; i++)
		printf("argv %d %s\n", i, argv[i]);
	for (char **e = envp; *e; e++)
		printf("env %s\n", *e);
	cwd = getcwd(NULL, 0);
	printf("cwd %s\n", cwd ? cwd : "-");
	return 0;
}
