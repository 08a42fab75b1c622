package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/restore"
)

// TestVerifyPrograms checks what is compared for a program: what exec keeps, and with
// level exact everything.
func TestVerifyPrograms(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "tree.yaml")
	const text = `version: 1
files:
  null: {type: reg, path: /dev/null, flags: [O_RDWR]}
  log:  {type: reg, path: log, flags: [O_RDWR, O_CREAT], offset: 4}
  jobs: {type: pipe, content: some}
  go:   {type: pipe}
tasks:
  - name: root
    fds: {0: null, 1: go.w, 2: null, 3: {file: log, cloexec: true}, 5: jobs.r, 6: jobs.w}
    run: [sh, -c, 'exec 9</; echo x >&6; sleep 1000 9<&- & echo; wait']
    env: {A: B}
    cwd: /usr
    children:
      - name: holds
        fds: {0: log, 3: go.r}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	rep := detached(t, path)
	root, holds := rep.Tasks[0].HostPID, rep.Tasks[1].HostPID
	// The program waits when it has written.
	turn, err := os.Open(fmt.Sprintf("/proc/%d/fd/3", holds))
	if err != nil {
		t.Fatal(err)
	}
	defer turn.Close()
	if _, err := turn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	status, out := verify(t, path, root)
	if want := "1 task runs a program: offsets, contents and arguments are not compared there; programs have 1 descriptor and 1 task that the description does not have"; status != 0 || !strings.Contains(out, want) {
		t.Errorf("status %d:\n%s", status, out)
	}
	if status, out := verify(t, path, root, "--level", "shape"); status != 0 {
		t.Errorf("shape: status %d:\n%s", status, out)
	}
	status, out = verify(t, path, root, "--level", "exact", "--json")
	var got struct {
		Equal       bool
		Differences []struct {
			Line            int
			Key, Real, Text string
			FD              *int
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	keys := map[string]bool{}
	for _, d := range got.Differences {
		keys[d.Key] = true
		if d.Line == 0 || !strings.HasPrefix(d.Text, fmt.Sprintf("%s:%d:", path, d.Line)) {
			t.Errorf("no position: %+v", d)
		}
	}
	if !keys["content"] || !keys["children"] || !keys[""] || len(keys) != 3 || status != 1 || got.Equal {
		t.Errorf("exact: status %d, keys %v:\n%s", status, keys, out)
	}
	other := strings.NewReplacer("A: B", "A: C", "cwd: /usr", "cwd: /bin", "[sh, -c, 'exec 9<", "[sh, -c, 'exec 8<").Replace(text)
	if err := os.WriteFile(path, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	_, out = verify(t, path, root, "--level", "exact")
	for _, want := range []string{`:11:11: task "root" \(pid \d+\): env.A: described "C", real "B"\n`, `:10:\d+: .*: run\[2\]: described "exec 8`, `:12:10: .*: cwd: described "/bin", real "/usr"\n`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%s is missing:\n%s", want, out)
		}
	}
}

// TestVerifyUsage checks the statuses if nothing can be compared.
func TestVerifyUsage(t *testing.T) {
	path := write(t, "version: 1\ntasks: [{name: a}]\n")
	free := exec.Command("true")
	if err := free.Run(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{path}, 2, "verify takes one TREE.yaml (- for standard input) and one PID"},
		{[]string{path, "x"}, 2, `"x" is not a PID`},
		{[]string{path, "0"}, 2, `"0" is not a PID`},
		{[]string{path, "-1"}, 2, "unknown shorthand flag"},
		{[]string{path, "1", "--level", "exat"}, 2, `--level exat: expected one of shape, state, exact (did you mean "exact"?)`},
		{[]string{write(t, "version: 2"), "1"}, 2, ":1:"},
		{[]string{path + "x", "1"}, 2, "no such file"},
		{[]string{path, strconv.Itoa(free.Process.Pid)}, 1, "described the root, real no such process"},
	} {
		res := run(t, append([]string{"verify"}, c.args...)...)
		if res.status != c.status || !strings.Contains(res.out+res.errors, c.says) {
			t.Errorf("%v: status %d, want %d and %q:\n%s%s", c.args, res.status, c.status, c.says, res.out, res.errors)
		}
	}
}

// TestVerifyNotVisible verifies with fewer rights: what is not visible must be neither
// equal nor different nor gone, and the rest must still be compared.
func TestVerifyNotVisible(t *testing.T) {
	needRoot(t)
	if _, err := exec.LookPath("setpriv"); err != nil {
		need(t, "setpriv")
	}
	dir := openFolder(t)
	path := filepath.Join(dir, "tree.yaml")
	const text = `version: 1
files: {a: {type: reg, path: /dev/null}, p: {type: pipe, content: x}}
tasks: [{name: root, fds: {3: a, 4: p.r}, cwd: /, children: [{name: child, fds: {3: a}}]}]
`
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	more := filepath.Join(dir, "more.yaml")
	if err := os.WriteFile(more, []byte(strings.Replace(text, "{name: child, fds: {3: a}}", "{name: child, fds: {3: a}}, {name: lost}", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	rep := detached(t, path)
	root := strconv.Itoa(rep.Tasks[0].HostPID)
	other := []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
	ptrace := []string{"setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"}
	for _, c := range []struct {
		name   string
		by     []string
		path   string
		status int
		says   []string
		never  string
	}{
		{"another user", other, path, 3, []string{`task "root"`, `task "child"`, `: fds: not visible: .*permission denied`, `: cwd: not visible: `, `no difference from .*, but \d+ not visible`}, "described"},
		{"another user, and a task is gone", other, more, 1, []string{`task "lost": described a child of`, `not visible`}, ""},
		{"another user, of the shape", append(other, regrow, "verify", "--level", "shape"), path, 3, []string{`: fds: not visible`}, "cwd"},
		{"root without CAP_SYS_PTRACE", ptrace, path, -1, nil, "described"},
		{
			"hidden", append([]string{"unshare", "--mount", "--propagation", "private", "sh", "-c", `mount -t proc -o hidepid=2 proc /proc && exec "$0" "$@"`}, other...), path, 3,
			[]string{`task "root" \(pid ` + root + `\): not visible: .*hidepid`},
			"described|no such",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{}, c.by...)
			if args[len(args)-1] != "shape" {
				args = append(args, regrow, "verify")
			}
			args = append(args, c.path, root)
			cmd := exec.Command(args[0], args[1:]...)
			out, _ := cmd.CombinedOutput()
			status := cmd.ProcessState.ExitCode()
			if c.status >= 0 && status != c.status {
				t.Errorf("status %d, want %d", status, c.status)
			}
			for _, want := range c.says {
				if !regexp.MustCompile(want).Match(out) {
					t.Errorf("%s is missing", want)
				}
			}
			if c.never != "" && regexp.MustCompile(c.never).Match(out) {
				t.Errorf("it prints %s", c.never)
			}
			t.Logf("status %d:\n%s", status, out)
		})
	}
}

// TestVerifyWithoutKcmp verifies where a sandbox refuses kcmp: sharing is not visible, and
// everything else must be compared.
func TestVerifyWithoutKcmp(t *testing.T) {
	needRoot(t)
	path := write(t, `version: 1
files: {a: {type: reg, path: /dev/null}, b: {type: reg, path: /dev/null}, alone: {type: reg, path: /dev/zero}}
tasks: [{name: root, fds: {3: a, 4: a, 5: b, 6: alone}, children: [{name: child, shares: {files: root}}]}]
`)
	rep := detached(t, path)
	sandbox, root := refuses(t, unix.SYS_KCMP, -1, unix.EPERM), strconv.Itoa(rep.Tasks[0].HostPID)
	res := wait(t, start(t, sandbox, "verify", path, root))
	if out := res.out; res.status != 3 || strings.Contains(out, "described") || !strings.Contains(out, "sharing: not visible: ") || !strings.Contains(out, "shares.files: not visible: ") || strings.Contains(out, `file "alone": sharing: not visible: whether it is the open file of fd 3`) {
		t.Errorf("status %d:\n%s%s", res.status, out, res.errors)
	}
	wrong := write(t, `version: 1
files: {a: {type: reg, path: /dev/zero}, b: {type: reg, path: /dev/null}, alone: {type: reg, path: /dev/zero}}
tasks: [{name: root, fds: {3: a, 4: a, 5: b, 6: alone}, children: [{name: child, shares: {files: root}}]}]
`)
	if res := wait(t, start(t, sandbox, "verify", wrong, root)); res.status != 1 || !strings.Contains(res.out, "path: described") {
		t.Errorf("status %d:\n%s", res.status, res.out)
	}
}

// TestVerifyHiddenChild verifies a process whose child belongs to another user and is
// hidden: the child must not be reported as gone.
func TestVerifyHiddenChild(t *testing.T) {
	needRoot(t)
	if _, err := exec.LookPath("setpriv"); err != nil {
		need(t, "setpriv")
	}
	dir := openFolder(t)
	path := filepath.Join(dir, "tree.yaml")
	if err := os.WriteFile(path, []byte("version: 1\ntasks: [{name: a, run: [sleep, 1000], children: [{name: b, run: [sleep, 1000]}]}]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", "sleep 1000 & exec setpriv --reuid=65534 --regid=65534 --clear-groups sleep 1000")
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer endTree(t)
	becomes(t, cmd.Process.Pid, "sleep")
	pid := strconv.Itoa(cmd.Process.Pid)
	look := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", `mount -t proc -o hidepid=2 proc /proc && exec "$0" "$@"`,
		"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", regrow, "verify", path, pid)
	out, _ := look.CombinedOutput()
	if status := look.ProcessState.ExitCode(); status != 3 || !regexp.MustCompile(`task "b": not visible: child \d+: /proc does not show it \(hidepid\)`).Match(out) {
		t.Errorf("status %d:\n%s", status, out)
	}
	if status, out := verify(t, path, cmd.Process.Pid); status != 0 {
		t.Errorf("by root: status %d:\n%s", status, out)
	}
}

// TestVerifyManyOfOne checks that the search for shared open files is not quadratic: for
// thousands of open files of one path, or descriptors of one open file, n² would take
// minutes.
func TestVerifyManyOfOne(t *testing.T) {
	needRoot(t)
	const n = 3000
	var files, opens, dups strings.Builder
	for i := range n {
		fmt.Fprintf(&files, "  f%d: {type: reg, path: /dev/null}\n", i)
		fmt.Fprintf(&opens, "%d: f%d, ", i+10, i)
		fmt.Fprintf(&dups, "%d: f0, ", i+10)
	}
	path := write(t, fmt.Sprintf("version: 1\nfiles:\n%stasks: [{name: a, fds: {%s}, children: [{name: b, fds: {%s}}]}]\n", files.String(), opens.String(), dups.String()))
	detached(t, path)
}

// TestVerifySharedEmptyTable has a table without descriptors that two tasks share.
func TestVerifySharedEmptyTable(t *testing.T) {
	needRoot(t)
	const text = "version: 1\ntasks:\n  - name: root\n    children:\n      - {name: a, shares: {files: root}}\n      - {name: b}\n"
	path := write(t, text)
	root := detached(t, path).Tasks[0].HostPID
	if status, out := verify(t, path, root); status != 0 {
		t.Errorf("status %d:\n%s", status, out)
	}
	other := write(t, strings.Replace(text, ", shares: {files: root}", "", 1))
	if status, out := verify(t, other, root); status != 1 || !strings.Contains(out, ":5:16: ") || !strings.Contains(out, "shares.files: described a descriptor table of its own") {
		t.Errorf("not shared: status %d:\n%s", status, out)
	}
}

// TestVerifyPacketPipe has O_DIRECT at both ends, which pipe2 gives to one.
func TestVerifyPacketPipe(t *testing.T) {
	needRoot(t)
	for _, flags := range []string{"{r: [O_DIRECT], w: [O_DIRECT]}", "{r: [O_DIRECT]}", "{w: [O_DIRECT]}", "{r: [O_DIRECT], w: [O_DIRECT, O_NONBLOCK]}"} {
		detached(t, write(t, "version: 1\nfiles:\n  p: {type: pipe, flags: "+flags+"}\ntasks: [{name: a, fds: {0: p.r, 1: p.w}}]\n"))
		endTree(t)
	}
}

// TestVerifyInherited gives verify the open files that the tree was given: it finds them
// again, and another open file of the same path is not them.
func TestVerifyInherited(t *testing.T) {
	needRoot(t)
	path := write(t, strings.NewReplacer("  log: ", "  std:  {type: inherit, key: stdin}\n  log: ", "fds: {1: log, 3:", "fds: {0: std, 1: log, 3:").Replace(givenTree))
	dir := filepath.Dir(path)
	names := []string{filepath.Join(dir, "log"), filepath.Join(dir, "reader"), filepath.Join(dir, "sub"), filepath.Join(dir, "out")}
	files := opened(t, names...)
	given := []string{"--inherit-fd", "log=3", "--inherit-fd", "jobs.r=4", "--inherit-fd", "sub=5", "--inherit-fd", "out=6"}
	cmd := exec.Command(regrow, append([]string{"restore", "-d", "--json", path}, given...)...)
	cmd.ExtraFiles, cmd.Stdin = files, files[3]
	rep := report(t, wait(t, startBy(t, cmd, (*exec.Cmd).Start)))
	defer endTree(t)
	root := strconv.Itoa(rep.Tasks[0].HostPID)
	others := opened(t, names...)
	for _, c := range []struct {
		name   string
		files  []*os.File
		args   []string
		status int
		says   []string
	}{
		{"all of them", files, append([]string{"--inherit-fd", "stdin=6"}, given...), 0, []string{"as described by"}},
		{"exactly", files, append([]string{"--level", "exact", "--inherit-fd", "std=6"}, given...), 0, []string{"as described by"}},
		{"not those of inherits", files, given[:6], 0, []string{"as described by"}},
		{"others of the same paths", others, append([]string{"--level", "shape", "--inherit-fd", "stdin=6"}, given...), 1, []string{
			`:10:11: .*fd 0: file "std": sharing: described the caller's descriptor 6, real another open file: .*/out`,
			`:10:19: .*fd 1: file "log": sharing: described the caller's descriptor 3, real another open file: .*/log`,
			`fd 3: file "jobs.r": sharing: described the caller's descriptor 4`, `fd 6: file "sub": sharing: described the caller's descriptor 5`,
			`:13:34: task "child" .*fd 2: file "out": sharing: described the caller's descriptor 6`, `: 5 differences`,
		}},
		{"one of them instead of another", files, append([]string{"--inherit-fd", "stdin=3"}, given...), 1, []string{`file "std": sharing: .*, real another open file: .*/out`, `: 1 difference `}},
		{"nothing", nil, nil, 1, []string{`file "log": path: described ".*/app.log", real ".*/log"`, `file "jobs.r": type: described pipe, real .*/reader`}},
		{"a key that names nothing", files, []string{"--inherit-fd", "lgo=3"}, 2, []string{`--inherit-fd lgo=3: .*did you mean "log"`}},
		{"a standard key that names nothing", files, []string{"--inherit-fd", "stdout=3"}, 2, []string{`--inherit-fd stdout=3: .*: no open file of the tree has this name or key`}},
		{"what is not open", nil, []string{"--inherit-fd", "log=5"}, 2, []string{`--inherit-fd log=5: the caller did not leave descriptor 5 open`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := wait(t, startGiven(t, c.files, append([]string{"verify", path, root}, c.args...)...))
			if res.status != c.status {
				t.Errorf("status %d, want %d", res.status, c.status)
			}
			for _, want := range c.says {
				if !regexp.MustCompile(want).MatchString(res.out + res.errors) {
					t.Errorf("%s is missing", want)
				}
			}
			if t.Failed() {
				t.Logf("%s%s", res.out, res.errors)
			}
		})
	}
	// Without kcmp it is not visible which open file it is.
	sandbox := refuses(t, unix.SYS_KCMP, -1, unix.EPERM)
	if res := wait(t, start(t, sandbox+"; exec 9<"+names[0], "verify", path, root, "--inherit-fd", "log=9")); res.status == 0 || strings.Contains(res.out, "the caller's descriptor 9, real") {
		t.Errorf("status %d: %s%s", res.status, res.out, res.errors)
	}
}

// TestVerifySamePrograms has many children that run one program, each with a file of its
// own. Several processes fork them at once, so their order says nothing.
func TestVerifySamePrograms(t *testing.T) {
	needRoot(t)
	const n = 80
	for _, strategy := range restore.Strategies() {
		t.Run(strategy.String(), func(t *testing.T) {
			var files, tasks strings.Builder
			for i := range n {
				fmt.Fprintf(&files, "  f%d: {type: reg, path: f%[1]d, flags: [O_RDWR, O_CREAT]}\n  p%[1]d: {type: pipe}\n", i)
				fmt.Fprintf(&tasks, "      - {name: t%d, fds: {0: null, 1: p%[1]d.w, 2: p%d.r, 7: f%[1]d}, run: [sleep, 1000]}\n", i, (i+1)%n)
			}
			text := "version: 1\nfiles:\n  null: {type: reg, path: /dev/null}\n" + files.String() + "tasks:\n  - name: root\n    children:\n" + tasks.String()
			path := write(t, text)
			rep := report(t, run(t, "restore", "-d", "--json", "--strategy", strategy.String(), path))
			defer endTree(t)
			pids := pidsOf(rep)
			for i := range n {
				becomes(t, pids[fmt.Sprintf("t%d", i)], "sleep")
			}
			root := rep.Tasks[0].HostPID
			if status, out := verify(t, path, root); status != 0 {
				t.Errorf("status %d:\n%s", status, out)
			}
			wrong := filepath.Join(filepath.Dir(path), "wrong.yaml") // every one has a number more
			if err := os.WriteFile(wrong, []byte(strings.ReplaceAll(text, "{0: null", "{5: null, 0: null")), 0o600); err != nil {
				t.Fatal(err)
			}
			if status, out := verify(t, wrong, root); status != 1 || strings.Count(out, "fd 5: ") != n || !strings.Contains(out, fmt.Sprintf(": %d differences ", n)) {
				t.Errorf("status %d, want a difference for each:\n%s", status, out)
			}
			const killed = n / 2
			end(t, pids[fmt.Sprintf("t%d", killed)])
			status, out := verify(t, path, root)
			place := fmt.Sprintf("%s:%d:16: task \"t%d\" ", path, 7+2*n+killed, killed)
			if status != 1 || !strings.HasPrefix(out, place) || !strings.Contains(out, ": 1 difference ") {
				t.Errorf("status %d, want %s alone:\n%s", status, place, out)
			}
		})
	}
}
