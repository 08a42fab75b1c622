/*
 * judge asks systemd's own library what was passed to this process, and prints
 * it: one line "NUMBER NAME CONTENT" for each file. The library is loaded, not
 * linked, so that its headers need not be installed. Status 77: it is not there.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	void *lib = dlopen("libsystemd.so.0", RTLD_NOW);
	int (*listen_fds)(int, char ***);
	char **names = NULL, text[100];
	int n, i;

	if (!lib || !(listen_fds = (int (*)(int, char ***))dlsym(lib, "sd_listen_fds_with_names")))
		return 77;
	n = listen_fds(0, &names);
	if (n < 0) {
		printf("error %d\n", n);
		return 1;
	}
	for (i = 0; i < n; i++) {
		ssize_t got = pread(3 + i, text, sizeof text, 0);
		printf("%d %s %.*s\n", 3 + i, names[i], (int)(got < 0 ? 0 : got), text);
	}
	printf("argv %s %d, next %d\n", argv[0], argc, fcntl(3 + n, F_GETFD) >= 0);
	return 0;
}
