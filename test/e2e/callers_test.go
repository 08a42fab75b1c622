package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// callerTree has a program that ends with status 7, and tasks that share a pipe and a
// file with it.
const callerTree = `version: 1
files: {null: {type: reg, path: /dev/null, flags: [O_RDWR]}, p: {type: pipe, content: hello}}
tasks:
  - name: root
    fds: {0: p.r, 1: null, 2: null, 9: p.w}
    run: [/bin/sh, -c, 'read -r line <&0 & wait; exit 7']
    children:
      - {name: a, fds: {0: p.w, 1: p.r}, children: [{name: b, fds: {3: null}}]}
`

// heldTree is a tree of held tasks, which is checked against the kernel.
const heldTree = `version: 1
files: {null: {type: reg, path: /dev/null, flags: [O_RDWR]}, own: {type: reg, path: /dev/zero}, p: {type: pipe}}
tasks:
  - name: root
    fds: {0: p.r, 1: p.w, 5: null}
    children:
      - {name: a, fds: {0: p.w, 1: {file: p.r, cloexec: true}, 7: own}, children: [{name: b, fds: {3: null}}]}
`

// TestCallers starts regrow from callers of all kinds. In the foreground regrow must exit
// with the root's status; detached, the tables must be as described, whatever the caller
// left open, ignored or blocked.
func TestCallers(t *testing.T) {
	needRoot(t)
	dir := openFolder(t)
	paths := map[string]string{"fore.yaml": callerTree, "held.yaml": heldTree}
	for name, text := range paths {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fore, held := filepath.Join(dir, "fore.yaml"), filepath.Join(dir, "held.yaml")
	const exec = `exec %s "$0" "$@"`
	by := func(words string) string { return strings.Replace(exec, "%s", words, 1) }
	for _, c := range []struct {
		name, shell string
		// Callers with which a detached tree cannot outlive regrow, or cannot be found.
		foregroundOnly bool
	}{
		{name: "closed standard descriptors", shell: "exec <&- >&- 2>&-", foregroundOnly: true},
		{name: "closed standard input", shell: "exec <&-"},
		{name: "closed standard output", shell: "exec >&-", foregroundOnly: true},
		{name: "closed standard error", shell: "exec 2>&-"},
		{name: "10,000 open descriptors", shell: by(`bash -c 'ulimit -Sn $(ulimit -Hn); for ((i = 0; i < 10000; i++)); do exec {fd}</dev/null; done; exec "$0" "$@"'`)},
		{name: "hard limit of 64", shell: "ulimit -n 64"},
		{name: "soft limit of 1024", shell: "ulimit -Sn 1024"},
		{name: "SIGCHLD ignored", shell: "trap '' CHLD"},
		{name: "all signals ignored", shell: "trap '' HUP INT QUIT TERM USR1 USR2 PIPE ALRM CHLD TSTP TTIN TTOU WINCH"},
		{name: "all signals blocked", shell: by("env --block-signal")},
		{name: "an ordinary user", shell: asNobody},
		{name: "pid 1 of a namespace", shell: by("unshare --pid --fork --mount-proc"), foregroundOnly: true},
		{name: "nohup", shell: by("nohup")},
		{name: "setsid", shell: by("setsid --wait")},
		{name: "timeout", shell: by("timeout 50")},
		{name: "a pty", shell: `exec script --quiet --return --command "$0 $*" /dev/null`, foregroundOnly: true},
		{name: "another mount namespace", shell: by("unshare --mount")},
		{name: "a deleted folder", shell: `d=$(mktemp -d) && cd "$d" && rmdir "$d"`},
		{name: "umask 777", shell: "umask 777"},
		{name: "no capabilities", shell: by("setpriv --bounding-set=-all --inh-caps=-all --no-new-privs")},
		{name: "a container without init", shell: "set -- unshare --pid --fork --mount-proc setpriv --bounding-set=-all --inh-caps=-all \"$0\" \"$@\"; " +
			strings.Replace(inSandbox(t, unix.ENOSYS), `"$0" "$@"`, `"$@"`, 1), foregroundOnly: true},
		{name: "an environment of 1.2 MB", shell: `for i in 1 2 3 4 5 6 7 8 9 10 11 12; do export BIG$i=$(head -c 100000 /dev/zero | tr '\0' x); done`},
		{name: "an endless stack", shell: "ulimit -s unlimited"},
		{name: "2 GB of address space", shell: "ulimit -v 2000000"},
		{name: "/proc that hides others", shell: `exec unshare --mount sh -c 'mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid 61235 --regid 61235 --clear-groups "$0" "$@"' "$0" "$@"`},
		{name: "a read-only root file system", shell: `exec unshare --mount sh -c '{ test -z "$GOCOVERDIR" || mount -t tmpfs none "$GOCOVERDIR"; } && mount -o remount,bind,ro / && exec "$0" "$@"' "$0" "$@"`},
		{name: "empty environment", shell: by(`env --ignore-environment ${GOCOVERDIR:+GOCOVERDIR="$GOCOVERDIR"}`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if res := wait(t, start(t, c.shell, "restore", fore)); res.status != 7 || res.errors != "" && c.name != "nohup" {
				t.Errorf("status %d, want 7: %s%s", res.status, res.errors, res.out)
			}
			noDescendants(t)
			if c.foregroundOnly {
				return
			}
			rep := report(t, wait(t, start(t, c.shell, "restore", "-d", "--json", held)))
			for _, p := range prove(wantOf(t, held), rep) {
				t.Error(p)
			}
			endTree(t)
		})
	}
}
