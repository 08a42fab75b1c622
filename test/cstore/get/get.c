/*
 * get NAME...: prints the contents of the files with these names, from the store that
 * the environment names, a line for each name; for a name that fails, the reason. It
 * is a complete example of using fdstore.h.
 */
#include <stdio.h>

#include "../../../fdstore/c/fdstore.h"

static void print_files(const int *fds, int n)
{
	int i;

	for (i = 0; i < n; i++) {
		char text[4096];
		ssize_t got = pread(fds[i], text, sizeof text, 0);

		printf("%s%.*s", i ? " " : "", (int)(got < 0 ? 0 : got), text);
		if (!(fcntl(fds[i], F_GETFD) & FD_CLOEXEC))
			printf(" (not close-on-exec)");
		close(fds[i]);
	}
}

int main(int argc, char **argv)
{
	struct fdstore s;
	int i;

	if (fdstore_inherited(&s) < 0) {
		printf("no store: %s\n", strerror(errno));
		return 1;
	}
	for (i = 1; i < argc; i++) {
		int fds[FDSTORE_MAX_FILES];
		int fd = fdstore_get(&s, argv[i]), n = 1;

		fds[0] = fd;
		if (fd < 0 && errno == E2BIG)
			n = fdstore_get_group(&s, argv[i], fds, FDSTORE_MAX_FILES);
		else if (fd < 0)
			n = -1;
		printf("%s: ", argv[i]);
		if (n < 0)
			printf("%s", strerror(errno));
		else
			print_files(fds, n);
		printf("\n");
	}
	fdstore_close(&s);
	printf("%s, next descriptor %d\n", getenv("FDSTORE_ROOT") ? "still there" : "unset", dup(0));
	return 0;
}
