package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"regrow/restore"
	"regrow/restore/parts"
)

const givenTree = `version: 1
files:
  log:  {type: reg, path: app.log, flags: [O_RDWR, O_CREAT, O_TRUNC], mode: 0600}
  jobs: {type: pipe, content: "old\n"}
  out:  {type: inherit, key: out}
  sub:  {type: reg, path: no/such/file}
tasks:
  - name: root
    fds: {1: log, 3: jobs.r, 4: jobs.w, 6: sub}
    children:
      - name: child
        fds: {0: jobs.r, 1: log, 2: out, 9: {file: log, cloexec: true}}
`

// startGiven starts regrow with files as its descriptors 3, 4 and so on.
func startGiven(t *testing.T, files []*os.File, args ...string) *running {
	t.Helper()
	cmd := exec.Command(regrow, args...)
	cmd.ExtraFiles = files
	return startBy(t, cmd, (*exec.Cmd).Start)
}

// opened opens files that tests pass to regrow.
func opened(t *testing.T, paths ...string) []*os.File {
	t.Helper()
	var files []*os.File
	for _, path := range paths {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		files = append(files, f)
	}
	return files
}

// TestReplacedFiles replaces a regular file, an end of a pipe, and a file that does not
// exist by descriptors of the caller, and checks with the kernel that the tasks have the
// caller's open files. The file of the description must be unchanged, and the other end of
// the pipe must have no reader.
func TestReplacedFiles(t *testing.T) {
	for _, strategy := range restore.Strategies() {
		t.Run(strategy.String(), func(t *testing.T) {
			path := write(t, givenTree)
			dir := filepath.Dir(path)
			log := filepath.Join(dir, "app.log")
			if err := os.WriteFile(log, []byte("kept"), 0o644); err != nil {
				t.Fatal(err)
			}
			files := opened(t, filepath.Join(dir, "log"), filepath.Join(dir, "reader"), filepath.Join(dir, "sub"), filepath.Join(dir, "out"))
			r := startGiven(t, files, "restore", "-d", "--json", "--strategy", strategy.String(),
				"--inherit-fd", "log=3", "--inherit-fd", "jobs.r=4", "--inherit-fd", "sub=5", "--inherit-fd", "out=6", path)
			rep := report(t, wait(t, r))
			defer endTree(t)
			for _, c := range []struct{ task, fd, file int }{{0, 1, 0}, {0, 3, 1}, {0, 6, 2}, {1, 0, 1}, {1, 1, 0}, {1, 2, 3}, {1, 9, 0}} {
				same, err := sameFile(os.Getpid(), int(files[c.file].Fd()), rep.Tasks[c.task].HostPID, c.fd)
				if err != nil || !same {
					t.Errorf("task %d: fd %d is what the caller gave: %v (%v)", c.task, c.fd, same, err)
				}
			}
			want := []parts.Replaced{{File: "log", FD: 3, Line: 3}, {File: "jobs.r", FD: 4, Line: 4}, {File: "sub", FD: 5, Line: 6}}
			if !slices.Equal(rep.Replaced, want) {
				t.Errorf("the report has %v replaced, want %v", rep.Replaced, want)
			}
			if text, err := os.ReadFile(log); err != nil || string(text) != "kept" {
				t.Errorf("app.log has %q (%v)", text, err)
			}
			w, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/4", rep.Tasks[0].HostPID), os.O_WRONLY|unix.O_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if _, err := w.WriteString("x"); !errors.Is(err, unix.EPIPE) {
				t.Errorf("the pipe still has a reader: %v", err)
			}
		})
	}
}

// TestReplacedOutput has programs write to a replaced file.
func TestReplacedOutput(t *testing.T) {
	path := write(t, `version: 1
files:
  null: {type: reg, path: /dev/null, flags: [O_RDWR]}
  log:  {type: reg, path: old.log, flags: [O_WRONLY, O_CREAT, O_APPEND]}
  jobs: {type: pipe}
  end:  {type: pipe} # its end tells the root that the feeder has ended
tasks:
  - name: app
    fds: {0: jobs.r, 1: log, 2: log, 5: end.r}
    run: [sh, -c, 'echo one; cat; read -r line <&5; exit 0']
    children: [{name: feeder, fds: {0: null, 1: jobs.w, 2: null, 7: end.w}, run: [echo, three]}]
`)
	dir := filepath.Dir(path)
	for _, c := range []struct {
		name    string
		given   []string
		want    string
		others  bool // old.log must be made
		feeding string
	}{
		{"the log", []string{"log=3"}, "one\nthree\n", false, ""},
		{"what is read", []string{"log=3", "jobs.r=4"}, "one\ntwo\n", false, "two\n"},
		{"what is written", []string{"jobs.w=3"}, "three\n", true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_ = os.Remove(filepath.Join(dir, "old.log"))
			out, in := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "in")
			if err := os.WriteFile(in, []byte(c.feeding), 0o600); err != nil {
				t.Fatal(err)
			}
			args := []string{"restore", path}
			for _, g := range c.given {
				args = append(args, "--inherit-fd", g)
			}
			if res := wait(t, startGiven(t, opened(t, out, in), args...)); res.status != 0 || res.errors != "" {
				t.Fatalf("status %d: %s", res.status, res.errors)
			}
			if text, err := os.ReadFile(out); err != nil || string(text) != c.want {
				t.Errorf("got %q, want %q (%v)", text, c.want, err)
			}
			if _, err := os.Stat(filepath.Join(dir, "old.log")); (err == nil) != c.others {
				t.Errorf("old.log: %v", err)
			}
			noDescendants(t)
		})
	}
}

// TestClosedStandard passes standard descriptors that the caller has closed, where the Go
// runtime opens /dev/null.
func TestClosedStandard(t *testing.T) {
	path := write(t, "version: 1\nfiles: {given: {type: inherit, key: given}}\ntasks: [{name: a, fds: {9: given}}]\n")
	for _, c := range []struct {
		shell  string
		fd     int
		status int
	}{
		{"exec 0<&-", 0, 2},
		{"exec 1<&-", 1, 2},
		{"exec 2>err 0<&- 1<&-", 0, 2},
		{"exec 0<>/dev/null", 0, 2}, // this looks like the runtime's
		{"exec 0</dev/null", 0, 0},
		{"exec 0<>/dev/zero", 0, 0},
		{"exec 3<>/dev/null", 3, 0},
		{"exec 3<&-", 3, 2},
	} {
		t.Run(c.shell, func(t *testing.T) {
			res := wait(t, start(t, "cd '"+t.TempDir()+"'; "+c.shell, "restore", "-d", "--inherit-fd", fmt.Sprintf("given=%d", c.fd), path))
			if res.status != c.status {
				t.Errorf("status %d, want %d: %s", res.status, c.status, res.errors)
			}
			if c.status == 2 && !strings.Contains(res.errors, fmt.Sprintf("--inherit-fd given=%d: ", c.fd)) && !strings.Contains(c.shell, "err") {
				t.Errorf("regrow prints %q", res.errors)
			}
			endTree(t)
		})
	}
}

// TestGivenToConflicts checks that conflicts replaces files as restore does.
func TestGivenToConflicts(t *testing.T) {
	path := write(t, givenTree)
	dir := filepath.Dir(path)
	files := opened(t, filepath.Join(dir, "log"), filepath.Join(dir, "out"))
	given := []string{"--inherit-fd", "log=3", "--inherit-fd", "sub=3", "--inherit-fd", "out=4"}
	res := wait(t, startGiven(t, files, append([]string{"conflicts", "--run", path}, given...)...))
	if res.status != 0 || !strings.HasPrefix(res.out, "file \"log\" is the caller's descriptor 3\nfile \"sub\" is the caller's descriptor 3\n") || strings.Count(res.out, "as predicted") != 3 {
		t.Errorf("status %d:\n%s%s", res.status, res.out, res.errors)
	}
	if _, err := os.Stat(filepath.Join(dir, "app.log")); err == nil {
		t.Error("app.log was made")
	}
	noDescendants(t)
}
