package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestDetachAsInit runs restore -d with a regrow that is pid 1 of its namespace. The tree
// would end with regrow, so nothing may be started. setsid is necessary because pid 1 of a
// namespace must not be in a process group outside.
func TestDetachAsInit(t *testing.T) {
	needRoot(t)
	path := write(t, "version: 1\nfiles: {out: {type: inherit, key: stdout}, f: {type: reg, path: made, flags: [O_CREAT]}}\n"+
		"tasks: [{name: app, pid: 50, fds: {1: out, 2: out, 3: f}, run: [sh, -c, 'echo ran']}]\n")
	const apart = `exec unshare --pid --fork --mount-proc setsid `
	for name, shell := range map[string]string{
		"pid 1":                    apart + `"$0" "$@"`,
		"pid 1, with a child":      apart + `sh -c 'sleep 1 & exec "$0" "$@"' "$0" "$@"`,
		"pid 1, in the foreground": apart + `"$0" "$@"`,
		"under an init":            apart + `sh -c '"$0" "$@"; status=$?; sleep 0.5; exit $status' "$0" "$@"`,
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"restore", "-d", path}
			if strings.Contains(name, "foreground") {
				args = []string{"restore", path}
			}
			res := wait(t, start(t, shell, args...))
			refused := strings.Contains(res.errors, "host: the tree cannot live on: this process is pid 1 of its pid namespace")
			if want := name == "pid 1" || strings.Contains(name, "child"); want != refused || want != (res.status == 3) || want == strings.Contains(res.out, "ran") {
				t.Errorf("status %d, %q: %s", res.status, res.out, res.errors)
			}
			endTree(t)
		})
	}
}

// TestActivation starts regrow as a service manager that passes sockets does. The
// variables are about regrow's descriptors and must not reach the tree, unless the
// description sets them.
func TestActivation(t *testing.T) {
	path := write(t, `version: 1
files: {out: {type: inherit, key: stdout}, null: {type: reg, path: /dev/null}}
tasks:
  - name: app
    fds: {0: null, 1: out, 2: out}
    run: [sh, -c, 'env | sort; wait']
    env: {LISTEN_FDS: 2, LISTEN_PID: own}
`)
	plain := write(t, `version: 1
files: {out: {type: inherit, key: stdout}, null: {type: reg, path: /dev/null}}
tasks: [{name: app, fds: {0: null, 1: out, 2: out}, run: [env]}]
`)
	shell := "export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=db LISTEN_PIDFDID=7 LISTEN_OTHER=kept"
	for file, want := range map[string]string{path: "LISTEN_FDS=2 LISTEN_OTHER=kept LISTEN_PID=own", plain: "LISTEN_OTHER=kept"} {
		res := wait(t, start(t, shell, "restore", file))
		var got []string
		for line := range strings.Lines(res.out) {
			if strings.HasPrefix(line, "LISTEN_") {
				got = append(got, strings.TrimSpace(line))
			}
		}
		if res.status != 0 || fmt.Sprint(got) != "["+want+"]" {
			t.Errorf("status %d, the program has %v, want %s: %s", res.status, got, want, res.errors)
		}
	}
}
