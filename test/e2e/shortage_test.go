package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inFlightEnv is the variable that makes the test binary run another program as an
// ordinary user with this number of files in flight.
const inFlightEnv = "REGROW_TEST_IN_FLIGHT"

// flying executes args. It returns only with an error.
func flying(files string, args []string) error {
	const limit, each = 64, 60 // a message may exceed the limit, the next one is refused
	var n int
	if _, err := fmt.Sscan(files, &n); err != nil {
		return err
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	if err := unix.Setgroups(nil); err != nil {
		return err
	}
	if err := syscall.Setgid(nobodyID); err != nil {
		return err
	}
	if err := syscall.Setuid(nobodyElse()); err != nil {
		return err
	}
	if err := syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		return err
	}
	for n > 0 {
		files := make([]int, min(n, each))
		if err := unix.Sendmsg(ends[0], []byte{0}, unix.UnixRights(files...), nil, 0); err != nil {
			return err
		}
		n -= len(files)
	}
	return unix.Exec(args[0], args, os.Environ())
}

// many describes a file at many numbers.
func many(file string, from, to int) string {
	var fds []string
	for n := from; n < to; n++ {
		fds = append(fds, fmt.Sprintf("%d: %s", n, file))
	}
	return strings.Join(fds, ", ")
}

// TestShort restores where a store is impossible or must be small, and the plan with the
// fewest calls needs more: another plan must succeed.
func TestShort(t *testing.T) {
	needRoot(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const leftOpen = `ulimit -n 500; for ((n = 10; n < 490; n++)); do eval "exec $n</dev/null"; done`
	private, tasks := "", ""
	for i := range 20 {
		private += fmt.Sprintf("  f%d: {type: reg, path: /dev/null}\n", i)
		tasks += fmt.Sprintf("      - {name: t%d, fds: {%s}}\n", i, many(fmt.Sprintf("f%d", i), 3, 23))
	}
	for _, c := range []struct {
		name, shell, files, tasks string
		inherit                   bool // strategy inherit, which is not planned again
	}{
		{
			name:  "no Unix sockets",
			shell: refuses(t, unix.SYS_SOCKET, unix.AF_UNIX, unix.EAFNOSUPPORT),
			files: "  f: {type: reg, path: /dev/zero}\n",
			tasks: "      - {name: t, fds: {" + many("f", 3, 40) + "}}\n",
		},
		{
			name:    "no Unix sockets, and shared files",
			shell:   refuses(t, unix.SYS_SOCKET, unix.AF_UNIX, unix.EAFNOSUPPORT),
			files:   "  p: {type: pipe}\n",
			tasks:   "      - {name: t, fds: {3: p.r}}\n      - {name: u, fds: {3: p.w}}\n",
			inherit: true,
		},
		{
			name:  "numbers that the caller left taken",
			shell: "exec bash -c '" + leftOpen + `; exec "$0" "$@"' "$0" "$@"`,
			files: private, tasks: tasks,
		},
		{
			name:  "files of the user in flight",
			shell: fmt.Sprintf("export %s=120; set -- %q /usr/bin/env -u %s \"$0\" \"$@\"; exec \"$@\"", inFlightEnv, self, inFlightEnv),
			files: "  f: {type: reg, path: /dev/zero}\n",
			tasks: "      - {name: t, fds: {" + many("f", 3, 40) + "}}\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := openFolder(t) + "/tree.yaml"
			if err := os.WriteFile(path, []byte("version: 1\nfiles:\n"+c.files+"tasks:\n  - name: root\n    children:\n"+c.tasks), 0o644); err != nil {
				t.Fatal(err)
			}
			args := []string{"restore", "-d", "--json", "--log-level", "info", path}
			if c.inherit {
				args = append(args, "--strategy", "inherit")
			}
			res := wait(t, start(t, c.shell, args...))
			defer endTree(t)
			if again := strings.Contains(res.errors, "planned again"); again == c.inherit {
				t.Errorf("planned again: %v, %s", again, res.errors)
			}
			for _, problem := range prove(wantOf(t, path), report(t, res)) {
				t.Error(problem)
			}
		})
	}
}

// TestShortOfNumbers leaves fewer and fewer free numbers, so that each step of a restore
// is the first one without a free number.
func TestShortOfNumbers(t *testing.T) {
	files, tasks := "  p: {type: pipe}\n", ""
	for i := range 20 {
		files = fmt.Sprintf("  f%02d: {type: reg, path: /dev/null}\n", i) + files
		tasks += fmt.Sprintf("      - {name: t%d, fds: {30: p.r, 31: p.w, %s}}\n", i, many(fmt.Sprintf("f%02d", i), 3, 23))
	}
	path := write(t, "version: 1\nfiles:\n"+files+"tasks:\n  - name: root\n    children:\n"+tasks)
	again := 0
	for taken := 470; taken <= 488; taken++ {
		shell := fmt.Sprintf(`exec bash -c 'ulimit -n 500; for ((n = 10; n < %d; n++)); do eval "exec $n</dev/null"; done; exec "$0" "$@"' "$0" "$@"`, taken)
		res := wait(t, start(t, shell, "restore", "-d", "--json", "--log-level", "info", path))
		if res.status != 0 {
			t.Errorf("%d taken: status %d, %s", taken, res.status, res.errors)
		}
		if strings.Contains(res.errors, "planned again") {
			again++
		}
		endTree(t)
	}
	if again == 0 {
		t.Error("never planned again")
	}
	t.Logf("planned again %d times", again)
}

// TestPipeOfOneTask has a program that writes to a pipe. Only the same task had the read
// end, at many numbers and close-on-exec: after exec no process may have it, regrow
// included.
func TestPipeOfOneTask(t *testing.T) {
	var ends []string
	for n := 10; n < 30; n++ {
		ends = append(ends, fmt.Sprintf("%d: {file: p.r, cloexec: true}", n))
	}
	path := write(t, `version: 1
files: {p: {type: pipe}, err: {type: inherit, key: stderr}}
tasks: [{name: t, run: [/bin/sh, -c, "trap '' PIPE; echo x && echo taken >&2"], fds: {1: p.w, 2: err, `+strings.Join(ends, ", ")+`}}]
`)
	if res := run(t, "restore", path); res.status != 1 || strings.Contains(res.errors, "taken") {
		t.Errorf("status %d: %s", res.status, res.errors)
	}
}
