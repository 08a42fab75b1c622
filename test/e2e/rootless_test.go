package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"regrow/test/rounds"
)

// nobodyID is the user and the group of asNobody.
const nobodyID = 61235

// A user is root or an ordinary user who restores trees with a user namespace.
type user struct {
	name, shell string
	id          int
}

// users returns root and an ordinary user, or only the current user if that is ordinary.
func users(t *testing.T) []user {
	t.Helper()
	if os.Geteuid() != 0 {
		if res := wait(t, start(t, "exec unshare -U true")); res.status != 0 {
			need(t, "user namespaces")
		}
		return []user{{"this user", "", os.Geteuid()}}
	}
	if err := os.Chmod(filepath.Dir(regrow), 0o755); err != nil {
		t.Fatal(err)
	}
	return []user{{"an ordinary user", asNobody, nobodyID}, {"root", "", 0}}
}

// save writes a description to a file that every user may read.
func save(t *testing.T, dir, yaml string) string {
	t.Helper()
	path := filepath.Join(dir, "tree.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// field returns a field of /proc/PID/status, its words joined by one space.
func field(t *testing.T, pid int, name string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	t.Fatalf("/proc/%d/status has no %s", pid, name)
	return ""
}

// rootlessTree is a held tree with exact pids, and with shared, created and private files.
func rootlessTree(dir, namespaces string, exact bool) string {
	pid := func(n int) string {
		if exact {
			return fmt.Sprintf(", pid: %d", n)
		}
		return ""
	}
	return "version: 1\nnamespaces: [" + namespaces + "]\nfiles:\n" +
		"  made: {type: reg, path: " + dir + "/made, flags: [O_RDWR, O_CREAT], mode: 04751, content: made}\n" +
		"  own: {type: reg, path: " + dir + "/own, flags: [O_RDWR, O_APPEND]}\n" +
		"  p: {type: pipe, content: x, capacity: 8192}\n  q: {type: pipe}\n" +
		"tasks:\n  - name: init\n    fds: {0: p.r, 5: made, 6: q.r, 7: q.w}\n    children:\n" +
		"      - {name: worker" + pid(4711) + ", fds: {0: p.w, 3: own, 9: {file: made, cloexec: true}}, cwd: " + dir + "}\n" +
		"      - {name: second, children: [{name: below" + pid(30000) + ", fds: {1: p.r, 0: p.w}}]}\n"
}

// TestUserNamespace restores trees with a user namespace, as an ordinary user and as root,
// and checks them with the kernel.
func TestUserNamespace(t *testing.T) {
	for _, u := range users(t) {
		for _, c := range []struct {
			namespaces string
			own        bool // pids
		}{{"user, pid", true}, {"pid, user", true}, {"user", false}} {
			t.Run(u.name+": "+c.namespaces, func(t *testing.T) {
				dir := openFolder(t)
				if err := os.WriteFile(filepath.Join(dir, "own"), nil, 0o666); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(filepath.Join(dir, "own"), 0o666); err != nil {
					t.Fatal(err)
				}
				path := save(t, openFolder(t), rootlessTree(dir, c.namespaces, c.own))
				if res := wait(t, start(t, u.shell, "check", "--host", path)); res.status != 0 || res.errors != "" {
					t.Errorf("check --host: status %d: %s", res.status, res.errors)
				}
				rep := report(t, wait(t, start(t, u.shell, "restore", "-d", "--json", path)))
				defer endTree(t)
				for _, p := range prove(wantOf(t, path), rep) {
					t.Error(p)
				}
				if c.own {
					if got := fmt.Sprint(rep.Tasks[0].PID, rep.Tasks[1].PID, rep.Tasks[3].PID); got != "1 4711 30000" {
						t.Errorf("pids %s", got)
					}
				}
				var namespace string
				for i, task := range rep.Tasks {
					proveUser(t, u, task.HostPID)
					if inside := strings.Fields(field(t, task.HostPID, "NSpid")); inside[len(inside)-1] != strconv.Itoa(task.PID) || (len(inside) > 1) != c.own {
						t.Errorf("task %s: pids %v, the report has %d", task.Name, inside, task.PID)
					}
					link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/user", task.HostPID))
					ours, err2 := os.Readlink("/proc/self/ns/user")
					if i == 0 {
						namespace = link
					}
					if err != nil || err2 != nil || link == ours || link != namespace {
						t.Errorf("task %s: user namespace %q, the first one's is %q, ours %q (%v, %v)", task.Name, link, namespace, ours, err, err2)
					}
				}
				st, err := os.Stat(filepath.Join(dir, "made"))
				if err != nil {
					t.Fatal(err)
				}
				if owner := st.Sys().(*syscall.Stat_t).Uid; st.Mode() != 0o751|fs.ModeSetuid || int(owner) != u.id {
					t.Errorf("the created file has mode %v and owner %d, want %d", st.Mode(), owner, u.id)
				}
				if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", rep.Tasks[1].HostPID)); cwd != dir {
					t.Errorf("folder %q, %v", cwd, err)
				}
			})
		}
	}
}

// proveUser checks a task's user with the kernel.
func proveUser(t *testing.T, u user, pid int) {
	t.Helper()
	for _, c := range []struct{ file, want string }{
		{"uid_map", fmt.Sprintf("0 %d 1", u.id)}, {"gid_map", fmt.Sprintf("0 %d 1", u.id)}, {"setgroups", "deny"},
	} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, c.file))
		if got := strings.Join(strings.Fields(string(text)), " "); got != c.want {
			t.Errorf("%s is %q (%v), want %q", c.file, got, err, c.want)
		}
	}
	four := strings.TrimSpace(strings.Repeat(strconv.Itoa(u.id)+" ", 4))
	if got := field(t, pid, "Uid"); got != four {
		t.Errorf("users %q, seen from outside want %q", got, four)
	}
}

// TestUserRights checks that files are opened with the caller's rights, before any change,
// and that programs and folders are looked up with the task's rights.
func TestUserRights(t *testing.T) {
	needRoot(t)
	dir := openFolder(t)
	theirs, ours := filepath.Join(dir, "theirs"), filepath.Join(dir, "ours")
	for _, folder := range []string{theirs, ours} {
		if err := os.Mkdir(folder, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "prog"), []byte("#!/bin/sh\necho "+filepath.Base(folder)+"\ncat\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	secret := filepath.Join(theirs, "secret")
	if err := os.WriteFile(secret, []byte("the secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{secret, theirs} {
		if err := os.Chown(path, nobodyID, nobodyID); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(theirs, 0o700); err != nil {
		t.Fatal(err)
	}
	tree := func(more string) string {
		return save(t, openFolder(t), "version: 1\nnamespaces: [user, pid]\nfiles: {in: {type: reg, path: "+secret+"}, out: {type: inherit, key: stdout}}\n"+
			"tasks:\n  - name: a\n    fds: {0: in, 1: out, 2: out}\n    env: {PATH: '"+theirs+":"+ours+":/usr/bin:/bin'}\n    "+more+"\n")
	}
	for _, u := range users(t) {
		t.Run(u.name, func(t *testing.T) {
			// Root may open another user's file for the tree, but the tree may not
			// execute another user's program.
			want := map[int]string{0: "ours\nthe secret\n", nobodyID: "theirs\nthe secret\n"}[u.id]
			if res := wait(t, start(t, u.shell, "restore", tree("run: [prog]"))); res.status != 0 || res.out != want {
				t.Errorf("status %d, %q, want %q: %s", res.status, res.out, want, res.errors)
			}
			res := wait(t, start(t, u.shell, "restore", tree("run: [prog]\n    cwd: "+theirs)))
			if u.id != 0 {
				if res.status != 0 || res.out != want {
					t.Errorf("status %d, %q, want %q: %s", res.status, res.out, want, res.errors)
				}
				return
			}
			if res.status != 125 || !strings.Contains(res.errors, `tree.yaml:9:10: restore: task "a" (pid 1): change folder: chdir `) ||
				!strings.Contains(res.errors, "permission denied (in the tree's user namespace a task has the rights of user 0 and no more") {
				t.Errorf("status %d: %s", res.status, res.errors)
			}
			res = wait(t, start(t, u.shell, "restore", tree("run: ["+theirs+"/prog]")))
			if res.status != 126 || !strings.Contains(res.errors, `tree.yaml:8:11: restore: task "a" (pid 1): look up program: faccessat "`+theirs+`/prog": in the tree's user namespace`) ||
				!strings.HasSuffix(res.errors, ": permission denied\n") {
				t.Errorf("status %d: %s", res.status, res.errors)
			}
		})
		noDescendants(t)
	}
}

// TestUserSignals checks status, signals and the end of regrow for programs in a user
// namespace.
func TestUserSignals(t *testing.T) {
	for _, u := range users(t) {
		t.Run(u.name, func(t *testing.T) {
			tree := func(namespaces, run string) string {
				return save(t, openFolder(t), "version: 1\nnamespaces: ["+namespaces+"]\nfiles: {out: {type: inherit, key: stdout}}\n"+
					"tasks:\n  - name: root\n    fds: {1: out, 2: out}\n    "+run+"\n    children: [{name: a, children: [{name: b}]}]\n")
			}
			for _, namespaces := range []string{"user", "user, pid"} {
				if res := wait(t, start(t, u.shell, "restore", tree(namespaces, `run: [sh, -c, 'id -u; umask; exit 7']`))); res.status != 7 || res.out != "0\n0022\n" {
					t.Errorf("%s: status %d, want 7: %q %s", namespaces, res.status, res.out, res.errors)
				}
				noDescendants(t)
				for _, c := range []struct {
					run    string
					status int
				}{
					{`run: [sh, -c, 'trap "exit 9" TERM; echo ready; while :; do sleep 0.01; done']`, 9},
					{`run: [sh, -c, 'echo ready; exec sleep 1000']`, 143},
				} {
					r := start(t, u.shell, "restore", tree(namespaces, c.run))
					within(t, "the program", func() bool { return strings.Contains(r.output(), "ready") })
					if err := r.cmd.Process.Signal(unix.SIGTERM); err != nil {
						t.Error(err)
					}
					if res := wait(t, r); res.status != c.status {
						t.Errorf("%s: status %d, want %d: %s", namespaces, res.status, c.status, res.errors)
					}
					noDescendants(t)
				}
				// After release the tree outlives regrow; its root ends it.
				r := start(t, u.shell, "restore", tree(namespaces, `run: [sh, -c, 'echo ready; exec sleep 1000']`))
				within(t, "the program", func() bool { return strings.Contains(r.output(), "ready") })
				tasks := below(r.cmd.Process.Pid)
				if err := r.cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
				_ = wait(t, r)
				time.Sleep(10 * time.Millisecond)
				if n := alive(tasks); n != 3 {
					t.Errorf("%s: %d tasks of 3 outlive regrow", namespaces, n)
				}
				endTree(t)
			}
		})
	}
}

// TestUserKilled kills regrow at random moments of a restore with a user namespace: either
// the whole tree must be left, or nothing.
func TestUserKilled(t *testing.T) {
	const tasks = 12
	u := users(t)[0]
	cut := filepath.Join(openFolder(t), "cut")
	var b strings.Builder
	b.WriteString("version: 1\nnamespaces: [user, pid]\nfiles: {null: {type: reg, path: /dev/null}, cut: {type: reg, path: " + cut + ", flags: [O_WRONLY, O_TRUNC]}}\n" +
		"tasks:\n  - name: root\n    fds: {5: cut}\n    children:\n")
	for i := 1; i < tasks; i++ {
		fmt.Fprintf(&b, "      - {name: t%d, pid: %d, fds: {3: null}}\n", i, 1000+i)
	}
	path := save(t, openFolder(t), b.String())
	n := rounds.Of(t, "", 20, 60)
	var usual time.Duration
	outcomes := map[string]int{}
	began := time.Now()
	// More rounds if no kill came early enough, on a busy machine.
	for round := 0; round <= n || outcomes["0"] == 0 && round < 10*n; round++ {
		if err := os.WriteFile(cut, []byte("whole"), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(cut, 0o666); err != nil {
			t.Fatal(err)
		}
		r := start(t, u.shell, "restore", "--json", path)
		if round == 0 { // measure the time until release
			within(t, "release", func() bool {
				text, err := os.ReadFile(cut)
				return err == nil && len(text) == 0
			})
			usual = time.Since(began)
		}
		if round == n { // the last round always ends before release
			within(t, "the report", func() bool { return strings.HasSuffix(r.output(), "}\n") })
		}
		time.Sleep(usual * time.Duration(round%n) * 3 / 2 / time.Duration(n))
		if err := r.cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = wait(t, r)
		left := 0
		within(t, "all or nothing", func() bool {
			reapOrphans()
			left = alive(below(os.Getpid()))
			text, err := os.ReadFile(cut)
			return err == nil && (left == 0 || left == tasks && len(text) == 0) // it is cut at release
		})
		outcomes[strconv.Itoa(left)]++
		endTree(t)
	}
	t.Logf("tasks left: %v", outcomes)
	if outcomes["0"] == 0 || outcomes[strconv.Itoa(tasks)] == 0 {
		t.Errorf("tasks left: %v, want both: none and %d", outcomes, tasks)
	}
}

// TestUserForbidden restores where user namespaces are forbidden: check and restore must
// say by what, and nothing may be left.
func TestUserForbidden(t *testing.T) {
	needRoot(t)
	_ = users(t)
	path := save(t, openFolder(t), "version: 1\nnamespaces: [user, pid]\ntasks: [{name: a, children: [{name: b, pid: 9}]}]\n")
	chroot, hidden := t.TempDir(), openFolder(t)
	for _, c := range []struct {
		name, shell string
		want        string
		static      bool
	}{
		{
			name: "sysctl", shell: `set -- "$0" "$@"; exec setpriv --reuid 61235 --regid 61235 --clear-groups unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" "$@"' "$@"`,
			want: "user.max_user_namespaces is 0; raise it",
		},
		{
			name: "chroot", shell: `mount --rbind / ` + chroot + `; set -- "$0" "$@"; exec chroot --userspec=61235:61235 --groups= ` + chroot + ` "$@"`,
			want: "the caller may be in a chroot",
		},
		{
			name: "sandbox", shell: `cd /; ` + strings.Replace(inSandbox(t, unix.ENOSYS, withoutUser), `"$0" "$@"`, `setpriv --reuid 61235 --regid 61235 --clear-groups "$0" "$@"`, 1),
			want: "a sandbox (a seccomp filter) forbids clone with CLONE_NEWUSER", static: true,
		},
		{
			name: "root without CAP_SETFCAP", shell: `set -- "$0" "$@"; exec setpriv --bounding-set=-setfcap --inh-caps=-setfcap "$@"`,
			want: "root needs CAP_SETFCAP to map itself",
		},
		{name: "/proc is read-only", shell: `mount -o remount,ro,bind /proc`, want: "/proc is mounted read-only"},
		{ // setpriv keeps what an exec of its own would give up, so a shell does it
			name: "a program that may not be read", shell: `cp "$0" ` + hidden + `/regrow; chmod 711 ` + hidden + `/regrow; set -- ` + hidden + `/regrow "$@"; ` +
				`exec setpriv --reuid 61235 --regid 61235 --clear-groups sh -c 'exec "$0" "$@"' "$@"`,
			want: "the user may not read regrow's program file, so /proc/self is root's (chmod +r it)",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.static {
				defer func(built string) { regrow = built }(regrow)
				regrow = static(t)
				for dir := filepath.Dir(regrow); dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
					if err := os.Chmod(dir, 0o755); err != nil {
						t.Fatal(err)
					}
				}
			}
			// In a mount namespace of its own, because some cases mount something.
			shell := `set -- unshare --mount sh -c '` + strings.ReplaceAll(c.shell, "'", `'\''`) + `
exec "$0" "$@"' "$0" "$@"; exec "$@"`
			for _, args := range [][]string{{"check", "--host", path}, {"restore", path}, {"restore", "-d", path}} {
				res := wait(t, start(t, shell, args...))
				want := path + ":2:14: host: a new user namespace is refused: " + c.want
				if res.status != 3 || !strings.HasPrefix(res.errors, want) || strings.Count(res.errors, "\n") < 1 {
					t.Errorf("%v: status %d, want 3 and %q: %s", args, res.status, want, res.errors)
				}
			}
			noDescendants(t)
		})
	}
}

// TestRootlessExample runs the example as its comment says.
func TestRootlessExample(t *testing.T) {
	for _, u := range users(t) {
		text, err := os.ReadFile("../../examples/rootless.yaml")
		if err != nil {
			t.Fatal(err)
		}
		path := save(t, openFolder(t), string(text))
		res := wait(t, start(t, u.shell, "restore", path))
		if want := "worker: pid 4711, user 0\ninit: pid 1, user 0\n"; res.status != 0 || res.out != want {
			t.Errorf("%s: status %d, %q, want %q: %s", u.name, res.status, res.out, want, res.errors)
		}
		noDescendants(t)
	}
}

// TestHostPIDs has a root that makes a nested pid namespace, whose processes have the same
// pids there as tasks have in the tree's namespace.
func TestHostPIDs(t *testing.T) {
	needRoot(t)
	yaml := "version: 1\nnamespaces: [pid]\ntasks:\n  - name: root\n" +
		"    run: [unshare, --fork, --pid, sh, -c, 'sleep 30 & sleep 30 & sleep 30 & sleep 30 & wait']\n    children:\n"
	for i := range 60 {
		yaml += fmt.Sprintf("      - {name: t%d, run: [sleep, '30']}\n", i)
	}
	path := write(t, yaml)
	for range 3 {
		res := run(t, "restore", "-d", "--json", path)
		for _, task := range report(t, res).Tasks {
			if task.HostPID == 0 {
				t.Errorf("task %s: no host pid", task.Name)
				continue
			}
			inside := strings.Fields(field(t, task.HostPID, "NSpid"))
			if want := []string{strconv.Itoa(task.HostPID), strconv.Itoa(task.PID)}; !slices.Equal(inside, want) {
				t.Errorf("task %s: NSpid %v, want %v", task.Name, inside, want)
			}
		}
		endTree(t)
	}
	noDescendants(t)
}
